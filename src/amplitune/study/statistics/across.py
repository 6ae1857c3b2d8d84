"""Methods over several tasks: interquartile means of scaled scores, probabilities of improvement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from amplitune.study.metrics.sums import Array
from amplitune.study.statistics.bootstrap import RESAMPLES
from amplitune.study.statistics.intervals import LEVEL, critical_value


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; None where there are too few seeds for one."""

    value: float
    low: float | None
    high: float | None


def interquartile_mean(scores: Sequence[Sequence[float]], fewest: int) -> Interval:
    """The mean of the middle half of all scores of a method, with an interval over seeds.

    Args:
        scores: for each task, a score a seed, scaled so that tasks can be taken together.
        fewest: seeds that every task must have for an interval.

    Returns:
        The interquartile mean with its interval. Simulated with 5 and 10 seeds it covers 93 % to 96 %, and
        90 % where two tasks differ a lot in spread: a trimmed mean of few scores is biased then.

    Source:
        Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021.

    Example:
        >>> interquartile_mean([[0.0, 1.0], [1.0, 9.0]], fewest=5)
        Interval(value=1.0, low=None, high=None)
    """
    rng = np.random.default_rng(0)
    tasks = [np.asarray(seeds, dtype=float) for seeds in scores]
    drawn = np.concatenate([_redrawn(seeds, rng) for seeds in tasks], axis=1)
    value = float(stats.trim_mean(np.concatenate(tasks), 0.25))
    return _interval(value, stats.trim_mean(drawn, 0.25, axis=1), tasks, fewest)


def probability_of_improvement(
    method: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]], fewest: int
) -> Interval:
    """How likely a run of a method beats a run of the baseline, with an interval over seeds.

    `mean over tasks of P(x > y) + P(x = y) / 2`, over all pairs of a run x of the method and a run y of the
    baseline.

    Args:
        method: for each task, a value a seed, larger being better.
        baseline: the same of the baseline.
        fewest: seeds that every task must have for an interval.

    Returns:
        The probability with its interval, made on the scale of log odds so that it stays within 0 and 1; in
        simulations it covers 94 % to 99 %. Where all runs of one side win, nothing varies from resample to
        resample; the interval is then that of as many wins in a row as the smaller side has runs (Clopper and
        Pearson).

    Source:
        Agarwal et al., as above; Mann and Whitney, 1947.

    Example:
        >>> probability_of_improvement([[1.0, 2.0]], [[0.0, 2.0]], fewest=5)
        Interval(value=0.625, low=None, high=None)
    """
    rng = np.random.default_rng(0)
    ours, theirs = ([np.asarray(seeds, dtype=float) for seeds in side] for side in (method, baseline))
    value = float(np.mean([_wins(x[None], y[None])[0] for x, y in zip(ours, theirs, strict=True)]))
    drawn = [_wins(_redrawn(x, rng), _redrawn(y, rng)) for x, y in zip(ours, theirs, strict=True)]
    interval = _interval(value, np.mean(drawn, axis=0), [*ours, *theirs], fewest)
    if interval.low is None or interval.high is None:
        return interval
    if value in (0.0, 1.0):
        surprise = (LEVEL / 2) ** (1 / sum(min(len(x), len(y)) for x, y in zip(ours, theirs, strict=True)))
        return Interval(value, surprise, 1.0) if value else Interval(value, 0.0, 1 - surprise)
    half = (interval.high - value) / (value * (1 - value))
    low, high = special.expit(special.logit(value) + np.array([-half, half])).tolist()
    return Interval(value, low, high)


def _redrawn(seeds: Array, rng: np.random.Generator) -> Array:
    """Seeds of one task drawn with replacement (shape (B, seeds)): the strata of the bootstrap are tasks."""
    return seeds[rng.integers(0, len(seeds), size=(RESAMPLES, len(seeds)))]


def _wins(ours: Array, theirs: Array) -> Array:
    """Share of pairs that we win, of each resample (shape (B,))."""
    difference = ours[:, :, None] - theirs[:, None, :]
    return np.asarray((0.5 + 0.5 * np.sign(difference)).mean(axis=(1, 2)))


def _interval(value: float, drawn: Array, strata: Sequence[Array], fewest: int) -> Interval:
    """`value +- t SE`, with the bootstrap's standard error.

    Percentiles, as in rliable, cover less than 95 % with few seeds: a resample of S seeds spreads less than S
    new seeds by (S - 1)/S, and the spread itself is uncertain, which Student's t allows for.
    """
    smallest = min(len(seeds) for seeds in strata)
    if smallest < max(2, fewest):
        return Interval(value, None, None)
    error = math.sqrt(smallest / (smallest - 1)) * float(np.std(drawn, ddof=1))
    half = critical_value(sum(len(seeds) - 1 for seeds in strata)) * error
    return Interval(value, value - half, value + half)
