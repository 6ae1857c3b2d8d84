"""Holm's adjustment of p values for the number of comparisons."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of a family, so that the chance of any false finding in it stays below the level.

    The k-th smallest of m is multiplied by m - k + 1, and made no smaller than the ones before it. The
    comparisons may depend on each other in any way.

    Args:
        p_values: one a comparison, in any order.

    Returns:
        The adjusted values in the same order, at most 1.

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted
