# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: N803
"""Triton kernel that projects readouts up and adds them to the base layer's output."""

import triton
import triton.language as tl

# A tile of 64 x 128 sums is 64 registers of each of 128 threads; not yet tuned on a device.
TOKENS = 64
WIDTH = 128
WARPS = 4


@triton.jit
def projection_kernel(
    base_ptr,
    z_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    tokens,
    width,
    scaling,
    K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TOKENS: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
):
    """Compute y = base + scaling (z W^T + b) on one tile; z is (tokens, K) and W is (width, K)."""
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    sums = tl.zeros((TOKENS, WIDTH), tl.float32)
    for first in range(0, K, STEP):
        k = first + tl.arange(0, STEP)
        z_mask = (token < tokens)[:, None] & (k < K)[None, :]
        z = tl.load(z_ptr + token.to(tl.int64)[:, None] * K + k[None, :], mask=z_mask, other=0.0)
        weight_mask = (k < K)[:, None] & (column < width)[None, :]
        weight = tl.load(weight_ptr + column[None, :] * K + k[:, None], mask=weight_mask, other=0.0)
        # Three products on tensor cores keep the digits of float32; one (tf32) would keep ten bits.
        sums = tl.dot(z.to(tl.float32), weight.to(tl.float32), sums, input_precision="tf32x3")
    if HAS_BIAS:
        sums += tl.load(bias_ptr + column, mask=column < width, other=0.0).to(tl.float32)[None, :]
    # 64 bits: the output may have more than 2**31 elements.
    offsets = token.to(tl.int64)[:, None] * width + column[None, :]
    mask = (token < tokens)[:, None] & (column < width)[None, :]
    base = tl.load(base_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + offsets, (base + scaling * sums).to(y_ptr.dtype.element_ty), mask=mask)
