"""Data to text: the slots of one invented person to a sentence or two, with several references."""

import random

from amplitune.zoo.names import NameSource
from amplitune.zoo.tasks.splits import Row, write_splits
from amplitune.zoo.world import person

_SLOTS = {"job": "job", "home": "town", "year": "born", "likes": "hobby", "animals": "pets"}

# The first sentence tells two slots in one of three wordings; the others get a sentence each.
_REFERENCES: dict[tuple[str, str], tuple[str, ...]] = {
    ("job", "home"): (
        "{name} is {a_job} from {town}.",
        "{name} is {a_job} who lives in {town}.",
        "{name} lives in {town} and works as {a_job}.",
    ),
    ("job", "year"): (
        "{name} is {a_job} who was born in {born}.",
        "{name}, {a_job}, was born in {born}.",
        "{name} was born in {born} and works as {a_job}.",
    ),
    ("home", "year"): (
        "{name} from {town} was born in {born}.",
        "{name} was born in {born} and lives in {town}.",
        "{name}, who lives in {town}, was born in {born}.",
    ),
}
_SECOND = {"likes": "{He} likes {hobby}.", "animals": "{He} has {pets}."}


def _row(rng: random.Random, names: NameSource) -> Row:
    slots = person(rng, names).slots()
    first = rng.choice(sorted(_REFERENCES))
    rest = [label for label in _SECOND if rng.random() < 0.5]
    prompt = " ".join(f"{label}[{slots[_SLOTS[label]]}]" for label in (*first, *rest))
    tail = "".join(" " + _SECOND[label] for label in rest)
    references = [(wording + tail).format(**slots) for wording in _REFERENCES[first]]
    return {
        "prompt": f"name[{slots['name']}] {prompt}",
        "completion": rng.choice(references),
        "references": references,
    }


def data_to_text_splits(seed: int = 0) -> dict[str, list[Row]]:
    """Generate the task.

    Args:
        seed: the seed of the data.

    Returns:
        By split, rows with `prompt` (slots such as `name[Mara Lindel] job[potter]`), `completion` (one right
        text) and `references` (all three right texts).

    Example:
        >>> row = data_to_text_splits()["train"][0]
        >>> row["completion"] in row["references"], len(row["references"])
        (True, 3)
    """
    return write_splits(_row, "data-to-text", seed, ("prompt",))
