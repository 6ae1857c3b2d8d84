"""Documents of the bundled model's kind of text that no bundled task is about."""

from amplitune.zoo.grammar import paragraph

SEED = 22
"""Neither the seed of the pretraining text nor that of its validation."""

KINDS = (
    "two people",
    "family",
    "transaction",
    "company",
    "town",
    "dialogue",
    "comparison",
    "inventory",
    "lists",
)
"""Kinds of paragraph without those that tasks are made of: fact sheets, questions, drills, reviews."""


def held_out_documents(count: int = 54) -> list[str]:
    """Write documents with names that neither the pretraining text nor any training split contains.

    Args:
        count: how many; each kind in turn.

    Returns:
        The documents, the same each time.

    Example:
        >>> len(held_out_documents()), held_out_documents(2) == held_out_documents()[:2]
        (54, True)
    """
    return [paragraph(SEED, i, kind=KINDS[i % len(KINDS)], held_out=True) for i in range(count)]
