"""A two-class text task: whether a short review is positive, where denials turn the words around."""

import random

from amplitune.zoo.documents import SUBJECTS, opinion
from amplitune.zoo.names import NameSource
from amplitune.zoo.tasks.splits import Row, write_splits
from amplitune.zoo.words import sentence_case

LABELS = ("negative", "positive")


def _row(rng: random.Random, names: NameSource) -> Row:
    positive = rng.random() < 0.5
    subjects = rng.sample(SUBJECTS, rng.randint(1, 2))
    text = " ".join(sentence_case(opinion(rng, subject, positive=positive)) + "." for subject in subjects)
    return {"text": text, "label": LABELS[positive]}


def sentiment(seed: int = 0) -> dict[str, list[Row]]:
    """Generate the task.

    Args:
        seed: the seed of the data.

    Returns:
        By split, rows with `text` and `label` ("negative" or "positive").

    Example:
        >>> sorted({row["label"] for row in sentiment()["test"]})
        ['negative', 'positive']
    """
    return write_splits(_row, "sentiment", seed, ("text",))
