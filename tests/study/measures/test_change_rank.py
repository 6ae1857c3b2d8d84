"""Ranks of changes with a planted spectrum, against numpy's decomposition."""

import numpy as np
import pytest
import torch
from torch import Tensor

from amplitune.study.measures.change_rank import (
    above_rounding,
    effective_rank,
    singular_values,
    stable_rank,
)


def planted(spectrum: list[float], tokens: int, width: int) -> Tensor:
    """A matrix with this spectrum and random singular vectors."""
    generator = torch.Generator().manual_seed(1)
    left = torch.linalg.qr(torch.randn(tokens, len(spectrum), generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(width, len(spectrum), generator=generator, dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ right.T


@pytest.mark.parametrize(("tokens", "width"), [(50, 20), (20, 50), (20, 20)])
def test_singular_values_are_those_of_numpy(tokens: int, width: int) -> None:
    change = torch.randn(tokens, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.linalg.svd(change.numpy(), compute_uv=False)[::-1]
    np.testing.assert_allclose(singular_values(change).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("rank", [1, 4, 12])
def test_equal_singular_values_count_one_each(rank: int) -> None:
    values = above_rounding(
        singular_values(planted([3.0] * rank, 60, 30)), torch.ones(60, 30, dtype=torch.float64), 1e-7
    )
    assert effective_rank(values) == pytest.approx(rank)
    assert stable_rank(values) == pytest.approx(rank)


def test_unequal_ones_count_by_entropy_and_by_energy() -> None:
    values = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64)
    # Shares 1/4, 1/4, 1/2: entropy 1.5 bits.
    assert effective_rank(values) == pytest.approx(2**1.5)
    assert stable_rank(values) == pytest.approx(6 / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_of_the_outputs_adds_no_rank(dtype: torch.dtype) -> None:
    epsilon = torch.finfo(dtype).eps
    outputs = torch.randn(400, 100, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    planted_change = planted([3e3 * epsilon] * 3, 400, 100)
    before, after = outputs.to(dtype).double(), (outputs + planted_change).to(dtype).double()
    values = singular_values(after - before)
    kept = above_rounding(values, before, epsilon)
    assert len(kept) == 3
    found = effective_rank(kept)
    assert found == pytest.approx(3, rel=0.01)
    everything = effective_rank(values)
    assert everything is not None
    assert everything > 3.2


def test_no_change_has_no_rank() -> None:
    outputs = torch.randn(10, 5, dtype=torch.float64)
    values = above_rounding(singular_values(torch.zeros(10, 5, dtype=torch.float64)), outputs, 1e-7)
    assert (effective_rank(values), stable_rank(values)) == (None, None)
