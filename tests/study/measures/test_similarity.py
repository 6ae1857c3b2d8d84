"""Linear CKA against the estimator written out, and against what Kornblith et al. say holds for it."""

import pytest
import torch
from torch import Tensor

from amplitune.study.measures.similarity import linear_cka


def draw(tokens: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unbiased_hsic(k: Tensor, m: Tensor) -> Tensor:
    """Song et al. (2012), equation (5), term by term."""
    n = len(k)
    k, m = k.clone().fill_diagonal_(0), m.clone().fill_diagonal_(0)
    one = torch.ones(n, dtype=torch.float64)
    first = torch.trace(k @ m)
    second = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ k @ m @ one)
    return (first + second - third) / (n * (n - 3))


@pytest.mark.parametrize(("tokens", "width"), [(40, 5), (12, 30)])
def test_it_is_the_unbiased_estimator(tokens: int, width: int) -> None:
    x = draw(tokens, width) + 3
    y = x @ draw(width, 7, seed=1) + 2 * draw(tokens, 7, seed=2)
    k, m = x @ x.T, y @ y.T
    expected = unbiased_hsic(k, m) / (unbiased_hsic(k, k) * unbiased_hsic(m, m)).sqrt()
    assert linear_cka(x, y) == pytest.approx(float(expected), rel=1e-9)


def test_rotation_scale_and_shift_do_not_matter_but_shear_does() -> None:
    x, y = draw(50, 8), draw(50, 6, seed=1) + draw(50, 8)[:, :6]
    rotation = torch.linalg.qr(draw(8, 8, seed=2)).Q
    expected = linear_cka(x, y)
    assert expected is not None
    assert 0.1 < expected < 0.95
    assert linear_cka(5 * x @ rotation + 2, y) == pytest.approx(expected, rel=1e-9)
    assert linear_cka(y, x) == pytest.approx(expected, rel=1e-9)
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)
    shear = torch.diag(torch.tensor([10.0, *[1.0] * 7], dtype=torch.float64))
    assert linear_cka(x @ shear, y) != pytest.approx(expected, rel=0.01)


def test_unrelated_representations_are_unrelated_even_where_tokens_are_few() -> None:
    x, y = draw(40, 500), draw(40, 500, seed=1)
    unbiased = linear_cka(x, y)
    assert unbiased is not None
    assert abs(unbiased) < 0.1
    # The usual estimator.
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    biased = (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert biased > 0.9


def test_what_has_no_value() -> None:
    assert linear_cka(draw(3, 5), draw(3, 5)) is None
    assert linear_cka(torch.full((9, 5), 7.3, dtype=torch.float64), draw(9, 5)) is None
