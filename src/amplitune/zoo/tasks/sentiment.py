"""A two-class text task: whether a short review is positive, where denials turn the words around."""

import random

from amplitune.zoo.documents import SUBJECTS, opinion
from amplitune.zoo.names import NameSource
from amplitune.zoo.tasks.splits import Row, write_splits
from amplitune.zoo.words import sentence_case
from amplitune.zoo.world import person

LABELS = ("negative", "positive")


def _row(rng: random.Random, names: NameSource) -> Row:
    positive = rng.random() < 0.5
    subjects = rng.sample(SUBJECTS, rng.randint(1, 2))
    opinions = " ".join(sentence_case(opinion(rng, subject, positive=positive)) + "." for subject in subjects)
    # The neutral ending keeps the label from being read off the last token without any fine-tuning.
    text = "{first} was in {town}. {opinions} {first} told {his} friends about it."
    return {
        "text": text.format(opinions=opinions, **person(rng, names).slots()),
        "label": LABELS[positive],
    }


def sentiment_splits(seed: int = 0) -> dict[str, list[Row]]:
    """Generate the task.

    Args:
        seed: the seed of the data.

    Returns:
        By split, rows with `text` and `label` ("negative" or "positive").

    Example:
        >>> sorted({row["label"] for row in sentiment_splits()["test"]})
        ['negative', 'positive']
    """
    return write_splits(_row, "sentiment", seed, ("text",))
