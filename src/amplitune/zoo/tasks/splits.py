"""Disjoint train, validation and test splits of generated rows."""

import random
from collections.abc import Callable
from typing import Any

from amplitune.errors import ConfigError
from amplitune.zoo.names import NameSource

Row = dict[str, Any]
Write = Callable[[random.Random, NameSource], Row]

SIZES = {"train": 2000, "validation": 200, "test": 400}
"""Rows of each split."""


def write_splits(write: Write, task: str, seed: int, inputs: tuple[str, ...]) -> dict[str, list[Row]]:
    """Write rows until each split is full, never the same input twice.

    Validation and test use names that are neither in the training split nor in the model's pretraining text.

    Args:
        write: writes one row.
        task: the task's name, part of the seed.
        seed: the seed of the data.
        inputs: the columns that together are a row's input.

    Returns:
        `SIZES[split]` rows for each split.

    Raises:
        ConfigError: if `seed` is negative.
    """
    if seed < 0:
        raise ConfigError(f"`seed` must be at least 0, but is {seed}. Choose 0 or more.")
    seen: set[tuple[str, ...]] = set()
    splits: dict[str, list[Row]] = {}
    for split, size in SIZES.items():
        # A string seeds through SHA-512, which is the same on every platform and Python version.
        rng = random.Random(f"amplitune/{task}/{split}/{seed}")
        rows: list[Row] = []
        while len(rows) < size:
            row = write(rng, NameSource(rng, held_out=split != "train"))
            key = tuple(row[column] for column in inputs)
            if key not in seen:
                seen.add(key)
                rows.append(row)
        splits[split] = rows
    return splits
