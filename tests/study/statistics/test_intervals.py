"""Student t intervals against scipy."""

import numpy as np
import pytest
from scipy import stats

from amplitune.study.statistics.intervals import critical_value, t_interval


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_is_scipys(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(30, 2, size=seeds)
    expected = stats.t.interval(0.95, seeds - 1, loc=values.mean(), scale=stats.sem(values))
    assert t_interval(values.tolist()) == pytest.approx(expected)
    assert critical_value(seeds - 1) == pytest.approx(stats.t.ppf(0.975, seeds - 1))


def test_one_value_has_no_interval_and_equal_ones_a_point() -> None:
    assert t_interval([]) is None
    assert t_interval([3.0]) is None
    assert t_interval([0.1] * 5) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_over_seeds_cover_at_their_rate(seeds: int) -> None:
    draws = np.random.default_rng(0).normal(7.0, 3.0, size=(2000, seeds))
    intervals = [t_interval(draw.tolist()) for draw in draws]
    covered = np.mean([low <= 7.0 <= high for low, high in filter(None, intervals)])
    assert len(intervals) == 2000
    assert covered == pytest.approx(0.95, abs=0.015)  # three Monte-Carlo errors
