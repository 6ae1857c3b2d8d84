"""Student t intervals."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

LEVEL = 0.05
"""Level of all tests; intervals cover with probability 1 - LEVEL."""


def critical_value(degrees: float) -> float:
    """The value that Student's |t| exceeds with probability `LEVEL`.

    Args:
        degrees: degrees of freedom, not necessarily an integer.

    Example:
        >>> round(critical_value(4), 3)
        2.776
    """
    return float(special.stdtrit(degrees, 1 - LEVEL / 2))


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent, roughly normal values, such as a score over seeds.

    `mean +- t_{n-1} s / sqrt(n)`

    Args:
        values: one a seed.

    Returns:
        Lower and upper end; None under two values.

    Example:
        >>> t_interval([0.5, 0.5, 0.5])
        (0.5, 0.5)
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    half = critical_value(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half
