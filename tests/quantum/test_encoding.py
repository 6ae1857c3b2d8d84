"""Amplitude encoding: number of qubits, padding and exact scales."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amplitune.errors import ConfigError
from amplitune.quantum import qubits_for
from amplitune.quantum.encoding import encode, power_of_two_scale


@given(st.integers(min_value=1, max_value=10**9))
def test_qubits_are_the_fewest_that_hold_the_features(features: int) -> None:
    n = qubits_for(features)
    assert n >= 1
    assert features <= 2**n
    assert n == 1 or features > 2 ** (n - 1)


@pytest.mark.parametrize("features", [0, -3])
def test_no_features_are_refused(features: int) -> None:
    with pytest.raises(ConfigError, match=r"`features` must be at least 1"):
        qubits_for(features)


FINITE = {
    torch.float32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    torch.float64: st.floats(width=64, allow_nan=False, allow_infinity=False),
}


@pytest.mark.parametrize("dtype", FINITE)
@given(data=st.data())
def test_scale_is_an_exact_power_of_two_that_brings_the_row_near_one(
    dtype: torch.dtype, data: st.DataObject
) -> None:
    row = torch.tensor(data.draw(st.lists(FINITE[dtype], min_size=1, max_size=5)), dtype=dtype)
    scale = power_of_two_scale(row, dtype)
    assert scale.shape == (1,)
    assert math.frexp(scale.item())[0] == 0.5
    scaled = row * scale
    # What falls below the smallest normal number may lose digits: it is 2**-126 times the largest, or less.
    kept = row.abs() * scale >= torch.finfo(dtype).tiny
    assert torch.equal((scaled / scale)[kept], row[kept])
    largest = row.abs().max().item()
    if largest == 0:
        assert scaled.abs().max() == 0
    elif largest < torch.finfo(dtype).tiny:
        assert 2**-52 <= scaled.abs().max().item() < 2
    else:
        assert 1 <= scaled.abs().max().item() < 4


@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_scale_is_finite_and_keeps_what_is_not(value: float) -> None:
    row = torch.tensor([1.0, value])
    assert power_of_two_scale(row, torch.float32).isfinite().all()
    assert not encode(row, torch.float32)[0, 1].isfinite()


def test_rows_are_padded_with_zeros_at_the_end() -> None:
    x = torch.tensor([[[1.0, -1.5, 1.25]], [[-1.0, 0.0, 0.0]]])
    encoded = encode(x, torch.float64, multiple=4)
    assert encoded.dtype == torch.float64
    assert encoded.tolist() == [[1.0, -1.5, 1.25, 0.0], [-1.0, 0.0, 0.0, 0.0]]
    assert encode(x, torch.float64, multiple=3).shape == (2, 3)
    assert encode(x, torch.float64, multiple=2).shape == (2, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_of_a_dtype_are_encoded_without_loss(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    x = torch.tensor(
        [[limits.max, -limits.max], [limits.tiny, 0.0], [limits.smallest_normal, limits.tiny]], dtype=dtype
    )
    encoded = encode(x, torch.float32)
    assert encoded.isfinite().all()
    assert (encoded.abs().amax(-1) >= 1).all()
    assert encoded[0, 0] == -encoded[0, 1]
