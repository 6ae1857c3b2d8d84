"""Interquartile means and probabilities of improvement against their definitions and planted truth."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from amplitune.study.statistics.across import Interval, interquartile_mean, probability_of_improvement


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    scores = [[0.0, 10.0, 1.0, 2.0], [3.0, -50.0, 4.0, 2.0]]
    found = interquartile_mean(scores, fewest=4)
    assert found.value == np.mean([1.0, 2.0, 2.0, 3.0])
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert interquartile_mean(scores, fewest=5) == Interval(found.value, None, None)
    assert interquartile_mean([[0.5] * 5, [0.5] * 5], fewest=5) == Interval(0.5, 0.5, 0.5)


def test_the_probability_of_improvement_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    ours = [rng.integers(0, 6, size=5).astype(float).tolist() for _ in range(3)]
    theirs = [rng.integers(0, 6, size=size).astype(float).tolist() for size in (5, 6, 7)]
    by_task = []
    for x, y in zip(ours, theirs, strict=True):
        pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(x, y)]
        by_task.append(np.mean(pairs))
        assert by_task[-1] == pytest.approx(stats.mannwhitneyu(x, y).statistic / len(pairs))
    found = probability_of_improvement(ours, theirs, fewest=5)
    assert found.value == pytest.approx(np.mean(by_task))
    assert found.low is not None
    assert found.high is not None
    assert 0.0 < found.low < found.value < found.high < 1.0
    reverse = probability_of_improvement(theirs, ours, fewest=5)
    assert reverse.value == pytest.approx(1 - found.value)


def test_winning_always_is_not_certainty() -> None:
    above, below = [[2.0] * 5, [3.0, 4.0, 5.0, 6.0, 7.0]], [[1.0] * 5, [0.0] * 6]
    won = probability_of_improvement(above, below, fewest=5)
    lost = probability_of_improvement(below, above, fewest=5)
    # Ten wins of ten: Clopper and Pearson.
    low = stats.binomtest(10, 10).proportion_ci(0.95).low
    assert (won.value, won.low, won.high) == pytest.approx((1.0, low, 1.0))
    assert (lost.value, lost.low, lost.high) == pytest.approx((0.0, 0.0, 1 - low))


@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_cover(seeds: int) -> None:
    rng, studies = np.random.default_rng(1), 300
    means = np.array([0.7, 0.8, 0.9])[:, None]
    middle = stats.trim_mean((means + 0.1 * rng.normal(size=(3, 200_000))).ravel(), 0.25)
    chance = stats.norm.cdf(0.1 / (0.1 * np.sqrt(2)))
    covered = np.zeros(2)
    for _ in range(studies):
        ours, theirs = (m + 0.1 * rng.normal(size=(3, seeds)) for m in (means, means - 0.1))
        intervals = (
            interquartile_mean(ours.tolist(), 5),
            probability_of_improvement(ours.tolist(), theirs.tolist(), 5),
        )
        for i, (interval, truth) in enumerate(zip(intervals, (middle, chance), strict=True)):
            assert interval.low is not None
            assert interval.high is not None
            covered[i] += interval.low <= truth <= interval.high
    assert (covered / studies >= 0.95 - 3 * np.sqrt(0.0475 / studies)).all()
