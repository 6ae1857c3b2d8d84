"""Linear CKA: how alike two models arrange the same tokens."""

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Centred kernel alignment of two representations of the same tokens, without its bias.

        CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),   K = x x^T,   L = y y^T

    with HSIC's unbiased estimator. The usual one comes near 1 for any two representations that are wider than
    there are tokens. Neither a rotation nor a common factor of either side changes it.

    Args:
        x: float64, shape (tokens, d).
        y: float64, shape (tokens, e).

    Returns:
        At most 1, which is the same arrangement; near 0, or a little below, for unrelated ones. None for
        fewer than 4 tokens, or where all tokens are the same.

    Source:
        Kornblith, Norouzi, Lee and Hinton, arXiv 1905.00414, section 3; the estimator of Song et al. (2012),
        Journal of Machine Learning Research 13, equation (5).

    Example:
        >>> x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> round(linear_cka(x, -2 * x.flip(1)), 12)
        1.0
    """
    if len(x) < 4:
        return None
    first, second = _centred(x), _centred(y)
    norms = first.square().sum() * second.square().sum()
    return float((first * second).sum() / norms.sqrt()) if norms > 0 else None


def _centred(x: Tensor) -> Tensor:
    """The Gram matrix without its diagonal, centred so that products of two have no bias.

    Szekely and Rizzo (2014), Annals of Statistics 42, definition 2: a sum of products of two such matrices is
    n (n - 3) times the unbiased HSIC.
    """
    n = len(x)
    x = x - x.mean(dim=0)
    gram = x @ x.T
    gram.fill_diagonal_(0)
    rows = gram.sum(dim=1) / (n - 2)
    centred = gram - rows[:, None] - rows[None, :] + gram.sum() / ((n - 1) * (n - 2))
    # What is left where all rows are the same is rounding.
    if centred.abs().max() <= 1e-13 * max(float(gram.abs().max()), 1e-300):
        return torch.zeros_like(centred)
    return centred.fill_diagonal_(0)
