"""The seeded generator of the bundled model's training text: short paragraphs about invented things."""

import random
from collections.abc import Callable, Iterator

from amplitune.errors import ConfigError
from amplitune.zoo import documents, measures, narratives
from amplitune.zoo.names import NameSource

Kind = Callable[[random.Random, NameSource], str]

KINDS: dict[str, tuple[Kind, int]] = {
    "biography": (narratives.biography, 4),
    "two people": (narratives.two_people, 4),
    "family": (narratives.family, 2),
    "transaction": (narratives.transaction, 2),
    "company": (narratives.company, 2),
    "town": (narratives.town, 2),
    "fact sheet": (documents.fact_sheet, 6),
    "questions": (documents.questions, 6),
    "lists": (documents.lists, 2),
    "dialogue": (documents.dialogue, 2),
    "comparison": (measures.comparison, 3),
    "inventory": (measures.inventory, 2),
    "drill": (documents.drill, 4),
    "review": (documents.review, 4),
}
"""Each kind of paragraph with its weight in the corpus."""

_NAMES = tuple(KINDS)
_WEIGHTS = tuple(weight for _, weight in KINDS.values())


def paragraph(seed: int, index: int = 0, *, kind: str | None = None, held_out: bool = False) -> str:
    """Write one paragraph.

    Args:
        seed: the seed of the corpus.
        index: the paragraph's place in the corpus, from 0.
        kind: one of `KINDS`; unset, it is drawn by weight.
        held_out: True writes with names that no training text contains.

    Returns:
        The text, without a newline at its end. The same arguments always give the same text.

    Raises:
        ConfigError: if `kind` is none of `KINDS`.

    Example:
        >>> paragraph(0, 7) == paragraph(0, 7), paragraph(0, 7) == paragraph(1, 7)
        (True, False)
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(
            f"`kind` must be one of {', '.join(KINDS)}, but is {kind!r}. Leave it unset to mix them."
        )
    # A string seeds through SHA-512, which is the same on every platform and Python version.
    rng = random.Random(f"amplitune/{seed}/{index}/{held_out}")
    chosen = kind or rng.choices(_NAMES, _WEIGHTS)[0]
    return KINDS[chosen][0](rng, NameSource(rng, held_out=held_out))


def corpus(seed: int, start: int = 0, stop: int | None = None, *, held_out: bool = False) -> Iterator[str]:
    """Write paragraphs one after the other, each a function of its index alone.

    Args:
        seed: the seed of the corpus.
        start: index of the first paragraph.
        stop: index after the last one; unset, the corpus has no end.
        held_out: True writes with names that no training text contains.

    Yields:
        Paragraphs.

    Example:
        >>> len(list(corpus(0, 10, 15)))
        5
    """
    index = start
    while stop is None or index < stop:
        yield paragraph(seed, index, held_out=held_out)
        index += 1
