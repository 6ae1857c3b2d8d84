"""Estimates: standard errors against closed forms, and how they are written."""

import math

import pytest
import torch

from amplitune.quantum.capacity.estimate import Estimate, jackknife, mean, mean_by_row


def test_a_mean_has_the_textbook_error() -> None:
    estimate = mean(torch.tensor([1.0, 2.0, 3.0, 6.0], dtype=torch.float64))
    assert estimate.value == 3
    assert estimate.samples == 4
    assert math.isclose(estimate.standard_error, math.sqrt(14 / 3 / 4))
    assert math.isnan(mean(torch.ones(1)).standard_error)


def test_the_jackknife_of_a_mean_is_its_error() -> None:
    samples = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    without = (samples.sum() - samples) / 29
    estimate = jackknife(samples.mean().item(), without, 30)
    assert math.isclose(estimate.standard_error, mean(samples).standard_error, rel_tol=1e-12)


def test_draws_on_one_row_are_one_sample_of_the_inputs() -> None:
    # Draw i belongs to row i % 3; all the spread is between rows, so more draws must not shrink the error.
    of_rows = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    few, many = mean_by_row(of_rows.repeat(2), 3), mean_by_row(of_rows.repeat(50), 3)
    assert few == many == mean(of_rows)
    assert mean_by_row(of_rows, 1) == mean(of_rows)


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(1.23456, 0.0123, 10), "1.235 +- 0.012"),
        (Estimate(123.456, 12.3, 10), "123 +- 12"),
        (Estimate(2.0, 0.0, 10), "2 +- 0"),
        (Estimate(1e-9, 2e-9, 10), "1e-09 +- 2e-09"),
        (Estimate(1.0, math.nan, 1), "1 +- nan"),
    ],
)
def test_an_estimate_is_written_to_its_errors_second_digit(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text
