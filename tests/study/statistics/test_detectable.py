"""The detectable difference against scipy's noncentral t and against simulated tests."""

import numpy as np
import pytest
from scipy import stats

from amplitune.study.statistics.detectable import detectable_difference


@pytest.mark.parametrize("degrees", [4, 7.3, 9, 60, 500])
def test_its_power_is_as_stated(degrees: float) -> None:
    delta = detectable_difference(0.3, degrees)
    limit = stats.t.ppf(0.975, degrees)
    power = stats.nct.sf(limit, degrees, delta / 0.3) + stats.nct.cdf(-limit, degrees, delta / 0.3)
    assert power == pytest.approx(0.8, abs=1e-4)
    assert detectable_difference(0.3, degrees, power=0.9) > delta


def test_simulated_t_tests_find_it_four_times_of_five() -> None:
    error = 2.0 / np.sqrt(6)
    delta = detectable_difference(error, 5)
    draws = np.random.default_rng(0).normal(delta, 2.0, size=(6000, 6))
    assert (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.016)


def test_without_error_everything_is_detectable() -> None:
    assert detectable_difference(0.0, 4) == 0.0
