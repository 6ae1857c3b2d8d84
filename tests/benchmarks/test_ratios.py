"""Medians, paired differences, intervals and exponents on numbers whose answer is known."""

import json
import math

import numpy as np
import pytest
from benchmarks.ratios import Ratio, fit_exponent, ratio


def test_the_ratio_is_that_of_medians_of_paired_differences() -> None:
    ours, theirs, base = [4.0, 15.0, 60.0], [2.0, 12.0, 51.0], [1.0, 10.0, 50.0]
    found = ratio(ours, theirs, base)
    # Differences (3, 5, 10) and (1, 2, 1); a ratio of medians of the whole times would be 15 / 12.
    assert found.value == 5.0
    assert ratio(ours, theirs).value == 15 / 12
    assert found.low <= found.value <= found.high


def test_a_disturbance_of_whole_rounds_cancels() -> None:
    disturbance = np.linspace(0, 100, 21)
    found = ratio((disturbance + 3).tolist(), (disturbance + 2).tolist(), disturbance.tolist())
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    trials, covered = 200, 0
    for trial in range(trials):
        base = generator.normal(100, 5, 30)
        ours, theirs = base + generator.normal(3, 0.5, 30), base + generator.normal(2, 0.5, 30)
        found = ratio(ours.tolist(), theirs.tolist(), base.tolist(), seed=trial)
        covered += found.low <= 1.5 <= found.high
    assert 0.88 <= covered / trials <= 1


def test_a_denominator_lost_in_noise_gives_no_number() -> None:
    found = ratio([3.0, 3.0, 3.0], [1.0, 2.0, 1.0], [2.0, 2.0, 2.0])
    assert math.isinf(found.value)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["value"] is None
    assert "inf" in str(found)


def test_ratios_are_written_with_their_interval() -> None:
    assert str(Ratio(1.234, 1.1, 250.4)) == "1.23 [1.10, 250]"


def test_the_exponent_of_a_power_law_is_exact_and_its_error_is_that_of_least_squares() -> None:
    sizes = [256, 512, 1024, 2048, 4096]
    exact = fit_exponent(sizes, [3e-6 * size**1.6 for size in sizes])
    assert exact.value == pytest.approx(1.6)
    assert exact.standard_error == pytest.approx(0, abs=1e-9)
    costs = [1.0, 3.1, 5.2, 9.9, 22.0]
    _, covariance = np.polyfit(np.log(sizes), np.log(costs), 1, cov=True)
    noisy = fit_exponent(sizes, costs)
    assert noisy.value == pytest.approx(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
    assert noisy.standard_error == pytest.approx(covariance[0, 0] ** 0.5)
