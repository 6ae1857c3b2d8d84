"""Ratios of interleaved timings with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """A ratio with its interval.

    Args:
        value: the ratio.
        low: lower end of the 95 % interval.
        high: upper end; infinite where the noise does not tell the denominator from zero.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """The ratio, and its interval in brackets."""
        return f"{digits(self.value)} [{digits(self.low)}, {digits(self.high)}]"

    def to_dict(self) -> dict[str, Any]:
        """Describe it for JSON, which has no infinity: null stands there."""
        return {name: value if isfinite(value) else None for name, value in asdict(self).items()}


def digits(value: float) -> str:
    """Write a ratio: two decimals below 100, none above."""
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def ratio(
    ours: Sequence[float], theirs: Sequence[float], base: Sequence[float] | None = None, seed: int = 0
) -> Ratio:
    """Compare two timings of the same rounds, each less a third one if that is given.

        median over rounds (ours_i - base_i) / median over rounds (theirs_i - base_i)

    The interval is the percentile bootstrap over rounds: a round is drawn whole, because what disturbs it
    disturbs all its timings.

    Args:
        ours: seconds in each round.
        theirs: seconds in each round.
        base: seconds in each round of what both contain.
        seed: of the resampling.

    Returns:
        The ratio and its interval.

    Example:
        >>> print(ratio([5.0, 5.0, 9.0], [3.0, 3.0, 3.0], base=[1.0, 1.0, 1.0]))
        2.00 [2.00, 4.00]
    """
    shared = np.zeros(len(ours)) if base is None else np.asarray(base)
    upper, lower = np.asarray(ours) - shared, np.asarray(theirs) - shared
    drawn = np.random.default_rng(seed).integers(0, len(upper), (RESAMPLES, len(upper)))
    resampled = _quotients(np.median(upper[drawn], axis=1), np.median(lower[drawn], axis=1))
    # Sorted positions, not np.quantile, which makes NaN out of two infinities.
    resampled.sort()
    tail = (1 - CONFIDENCE) / 2
    low, high = (resampled[round(share * (RESAMPLES - 1))] for share in (tail, 1 - tail))
    value = _quotients(np.median(upper, keepdims=True), np.median(lower, keepdims=True))[0]
    return Ratio(float(value), float(low), float(high))


def _quotients(upper: Any, lower: Any) -> Any:
    """The quotients, infinite where noise made the denominator zero or less."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lower > 0, upper / lower, np.inf)


@dataclass(frozen=True)
class Exponent:
    """The exponent p of a power law, cost = c * size**p.

    Args:
        value: p.
        standard_error: of p, from the residuals of the straight line.
    """

    value: float
    standard_error: float

    def __str__(self) -> str:
        """The exponent and its standard error."""
        return f"{self.value:.2f} +- {self.standard_error:.2f}"


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> Exponent:
    """Fit a power law: a straight line through log cost over log size, by least squares.

    Args:
        sizes: at least three, above zero.
        costs: one for each size, above zero.

    Returns:
        The exponent and its standard error.

    Example:
        >>> print(fit_exponent([1, 2, 4, 8], [3, 12, 48, 192]))
        2.00 +- 0.00
    """
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(costs, dtype=float))
    centred = x - x.mean()
    spread = float((centred**2).sum())
    slope = float((centred * (y - y.mean())).sum()) / spread
    residuals = y - y.mean() - slope * centred
    variance = float((residuals**2).sum()) / (len(x) - 2)
    return Exponent(slope, (variance / spread) ** 0.5)
