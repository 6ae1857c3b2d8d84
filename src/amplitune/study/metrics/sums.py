"""Additive statistics of examples, from whose sum a metric of all of them follows."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Sums = dict[str, Array]
"""Metric to its statistics, a row for each example (shape (examples, statistics))."""


def mean_from_sums(totals: Array, examples: int) -> Array:
    """Mean over examples of a metric that each example has by itself.

    Args:
        totals: the metric, summed over examples (shape (..., 1)).
        examples: how many were summed.

    Returns:
        The mean (shape (...)).

    Example:
        >>> float(mean_from_sums(np.array([3.0]), 4))
        0.75
    """
    return np.asarray(totals[..., 0] / examples)


def example_records(sums: Sums, examples: int) -> list[dict[str, list[float]]]:
    """Write the statistics example by example, to nine decimals.

    Args:
        sums: metric to its statistics, of the same examples.
        examples: how many they are.

    Returns:
        For each example, metric to numbers; counts are integers.

    Example:
        >>> example_records({"accuracy": np.array([[1.0], [0.0]])}, 2)
        [{'accuracy': [1]}, {'accuracy': [0]}]
    """
    plain = {name: rows.tolist() for name, rows in sums.items()}
    return [
        {name: [_short(value) for value in rows[i]] for name, rows in plain.items()} for i in range(examples)
    ]


def _short(value: float) -> float:
    return int(value) if value.is_integer() else round(value, 9)
