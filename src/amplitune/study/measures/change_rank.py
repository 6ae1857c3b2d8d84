"""How many directions a change in activations has: its effective and its stable rank."""

import torch
from torch import Tensor


def singular_values(change: Tensor) -> Tensor:
    """Singular values of a matrix, through the smaller of its two Gram matrices.

    Values below 1e-8 of the largest are not resolved.

    Args:
        change: float64, shape (tokens, d).

    Returns:
        Rising, shape (min(tokens, d),).
    """
    tall = change.shape[0] >= change.shape[1]
    gram = change.T @ change if tall else change @ change.T
    return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()


def above_rounding(values: Tensor, outputs: Tensor, epsilon: float) -> Tensor:
    """Leave out the singular values that rounding alone can make.

        s > epsilon * rms(outputs) * (sqrt(tokens) + sqrt(d))

    The right side is the norm of a random matrix whose entries are as large as the last digit of an output, a
    few times what rounding leaves.

    Args:
        values: singular values of a change.
        outputs: the outputs that changed, float64, shape (tokens, d).
        epsilon: of the dtype that they were computed in.

    Returns:
        Those that count; none for a change that is zero.
    """
    tokens, width = outputs.shape
    floor = epsilon * outputs.square().mean().sqrt() * (tokens**0.5 + width**0.5)
    return values[values > floor]


def effective_rank(values: Tensor) -> float | None:
    """The exponential of the entropy of the normalised singular values.

        exp(- sum_i p_i ln p_i),   p_i = s_i / sum_j s_j

    Args:
        values: positive singular values, shape (k,).

    Returns:
        From 1 to k; None without a value.

    Source:
        Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality.

    Example:
        >>> effective_rank(torch.tensor([2.0, 2.0, 2.0]))
        3.0
    """
    if not len(values):
        return None
    share = values / values.sum()
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def stable_rank(values: Tensor) -> float | None:
    """The squared Frobenius norm over the squared spectral norm.

        sum_i s_i^2 / max_i s_i^2

    Args:
        values: positive singular values, shape (k,).

    Returns:
        From 1 to k; None without a value.

    Example:
        >>> stable_rank(torch.tensor([1.0, 1.0, 2.0]))
        1.5
    """
    if not len(values):
        return None
    return float(values.square().sum() / values.max().square())
