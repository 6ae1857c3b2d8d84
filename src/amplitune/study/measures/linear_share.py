"""The share of a module's change that is a linear function of the module's input."""

from dataclasses import dataclass

import torch
from torch import Tensor

PARTS = 4
"""Of the examples: the last scores, the one before it chooses the penalty."""

PENALTIES = torch.logspace(-9, 3, 13, dtype=torch.float64).tolist()
"""Of the ridge, in means of the inputs' squared singular values."""

COLUMNS = 256
"""Outputs at most, evenly spaced, that the penalty is chosen by."""


@dataclass(frozen=True)
class Directions:
    """The singular directions of the inputs that a regression is fitted to, with other inputs in the same.

    Args:
        fitted: which tokens it is fitted to, bool, shape (tokens,).
        others: which tokens it predicts, bool, shape (tokens,).
        squared: squared singular values of the centred inputs, shape (k,).
        left: their left singular vectors, shape (fitted tokens, k).
        scores: the other inputs along the directions, shape (other tokens, k).
    """

    fitted: Tensor
    others: Tensor
    squared: Tensor
    left: Tensor
    scores: Tensor

    def predict(self, change: Tensor, penalty: float) -> Tensor:
        """Predict the change of the other tokens by the ridge regression on the fitted ones.

        Args:
            change: shape (tokens, d_out).
            penalty: in means of `squared`.

        Returns:
            Shape (other tokens, d_out).
        """
        fitted = change[self.fitted]
        mean = fitted.mean(dim=0)
        weights = self.squared / (self.squared + penalty * self.squared.mean())
        return mean + self.scores @ (weights[:, None] * (self.left.T @ (fitted - mean)))


@dataclass(frozen=True)
class Splits:
    """Inputs decomposed for choosing the penalty and for scoring; modules that read the same need it once."""

    choosing: Directions
    scoring: Directions


def parts_of(lengths: list[int]) -> Tensor:
    """Which part each token belongs to, whole examples in turn; tokens in turn where examples are too few.

    Args:
        lengths: tokens of each example.

    Returns:
        0 to 3, shape (tokens,).

    Example:
        >>> parts_of([1, 2, 1, 1, 2]), parts_of([3, 3])
        (tensor([0, 1, 1, 2, 3, 0, 0]), tensor([0, 0, 1, 2, 2, 3]))
    """
    if len(lengths) < PARTS:
        tokens = sum(lengths)
        return torch.arange(tokens) * PARTS // max(1, tokens)
    return torch.repeat_interleave(torch.arange(len(lengths)) % PARTS, torch.tensor(lengths))


def split_inputs(inputs: Tensor, parts: Tensor) -> Splits | None:
    """Decompose inputs for `linear_share`; None where a part has fewer than two tokens.

    Args:
        inputs: float64, shape (tokens, d_in).
        parts: from `parts_of`.
    """
    parts = parts.to(inputs.device)
    if min(int((parts == part).sum()) for part in range(PARTS)) < 2:
        return None
    choose, score = PARTS - 2, PARTS - 1
    return Splits(
        _directions(inputs, parts < choose, parts == choose),
        _directions(inputs, parts < score, parts == score),
    )


def linear_share(inputs: Splits, change: Tensor, rounding: float = 0.0) -> float | None:
    """R^2, on tokens left out of the fit, of the ridge regression of a change on the inputs.

        R^2 = 1 - ||D - D'||_F^2 / ||D - m||_F^2,   D' = m + (x - mean x) W

    with m the mean of the change over the fitted tokens, so that a part that is the same for each token
    counts on neither side. The penalty of W is the one that predicts best in examples kept apart from those
    that score: where tokens repeat within the fit, a criterion on the fit itself would choose next to none.

    Args:
        inputs: of the module, from `split_inputs`.
        change: float64, shape (tokens, d_out).
        rounding: what rounding adds to an entry of the change, as a root mean square.

    Returns:
        1 if a matrix makes the change and the tokens suffice to find it; around 0 if none helps. None for a
        change that varies no more than by rounding.
    """
    fitted, truth = change[inputs.scoring.fitted], change[inputs.scoring.others]
    total = float((truth - fitted.mean(dim=0)).square().sum())
    if total <= rounding**2 * truth.numel():
        return None
    some = change[:, :: -(-change.shape[1] // COLUMNS)]
    seen = some[inputs.choosing.others]
    errors = [float((seen - inputs.choosing.predict(some, p)).square().sum()) for p in PENALTIES]
    penalty = PENALTIES[errors.index(min(errors))]
    return 1 - float((truth - inputs.scoring.predict(change, penalty)).square().sum()) / total


def _directions(inputs: Tensor, fitted: Tensor, others: Tensor) -> Directions:
    mean = inputs[fitted].mean(dim=0)
    x, rest = inputs[fitted] - mean, inputs[others] - mean
    tall = x.shape[0] >= x.shape[1]
    squared, vectors = torch.linalg.eigh(x.T @ x if tall else x @ x.T)
    kept = squared > 1e-13 * squared[-1].clamp_min(1e-300)
    squared, vectors = squared[kept], vectors[:, kept]
    right = vectors if tall else x.T @ vectors / squared.sqrt()
    left = x @ vectors / squared.sqrt() if tall else vectors
    return Directions(fitted, others, squared, left, rest @ right / squared.sqrt())
