"""An estimate: a value with the standard error that its samples leave it."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A value estimated from random samples.

    Args:
        value: the estimate.
        standard_error: the standard deviation that the estimate would have over repetitions.
        samples: how many independent samples it rests on.

    Example:
        >>> str(Estimate(0.25, 0.01, samples=400))
        '0.25 +- 0.01'
    """

    value: float
    standard_error: float
    samples: int

    def __str__(self) -> str:
        """The value and its error, rounded to the error's second digit."""
        if not self.standard_error > 0 or not math.isfinite(self.standard_error):
            return f"{self.value:.6g} +- {self.standard_error:.2g}"
        digits = max(0, 1 - math.floor(math.log10(self.standard_error)))
        if digits > 6:
            return f"{self.value:.3g} +- {self.standard_error:.2g}"
        return f"{round(self.value, digits):.10g} +- {self.standard_error:.2g}"


def mean(samples: Tensor) -> Estimate:
    """Estimate a mean from independent samples.

        value = mean(s),   standard_error = sd(s) / sqrt(len(s))

    Args:
        samples: real, shape (samples,), at least one.

    Returns:
        The estimate; one sample has no spread, so its standard error is NaN.

    Example:
        >>> import torch
        >>> mean(torch.tensor([1.0, 3.0]))
        Estimate(value=2.0, standard_error=1.0, samples=2)
    """
    count = len(samples)
    error = math.nan if count < 2 else (samples.std() / math.sqrt(count)).item()
    return Estimate(samples.mean().item(), error, count)


def mean_by_row(samples: Tensor, rows: int) -> Estimate:
    """Estimate a mean over inputs and angles, when sample i belongs to input row i % rows.

    Several rows are themselves a sample of inputs, and what is drawn on one row is alike: the means of the
    rows are the independent samples then. With one row, which stands for itself, the draws are.

    Args:
        samples: real, shape (draws,), draws a multiple of `rows`.
        rows: number of input rows.

    Returns:
        The estimate.
    """
    return mean(samples if rows == 1 else samples.reshape(-1, rows).mean(dim=0))


def jackknife(whole: float, leaving_out: Tensor, samples: int) -> Estimate:
    """Give a statistic the standard error of the delete-a-group jackknife.

        se^2 = (g - 1) / g * sum_i (t_i - mean(t))^2

    Unlike a bootstrap it never holds a sample twice, which would count as a pair of equal states.

    Args:
        whole: the statistic of all samples.
        leaving_out: t_i, the statistic without group i, shape (g,), g at least 2.
        samples: how many samples the statistic rests on.

    Returns:
        The estimate.

    Source:
        Efron and Stein (1981), The jackknife estimate of variance.

    Example:
        >>> import torch
        >>> s = torch.tensor([1.0, 2.0, 6.0])
        >>> str(jackknife(3.0, (9 - s) / 2, 3)) == str(mean(s))  # the same thing for a mean
        True
    """
    groups = len(leaving_out)
    squared = (groups - 1) / groups * (leaving_out - leaving_out.mean()).square().sum()
    return Estimate(whole, squared.sqrt().item(), samples)
