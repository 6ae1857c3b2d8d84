# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: N803
"""Triton kernel that projects readouts up and adds them to the base layer's output."""

import triton
import triton.language as tl

# By the compiler's reports for 11 readouts, not yet tuned on a device: 96 registers of a thread, which leaves
# room for 5 thread blocks on a multiprocessor; twice the width takes 168 and a quarter fewer instructions.
TOKENS = 64
WIDTH = 64
WARPS = 4


@triton.jit
def projection_kernel(
    base_ptr,
    z_ptr,
    weight_ptr,
    bias_ptr,
    y_ptr,
    tokens,
    scaling,
    FEATURES: tl.constexpr,
    K: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TOKENS: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
):
    """Compute y = base + scaling (z W^T + b) on one tile; z is (tokens, K) and W is (FEATURES, K)."""
    # Neighbouring thread blocks have neighbouring columns of the same rows.
    tile = tl.program_id(0) // tl.cdiv(FEATURES, WIDTH)
    token = tl.arange(0, TOKENS)
    column = (tl.program_id(0) % tl.cdiv(FEATURES, WIDTH)) * WIDTH + tl.arange(0, WIDTH)
    # 64 bits for the first token only: the output may have more than 2**31 elements, a tile has not.
    first = tl.full((), TOKENS, tl.int64) * tile
    token_mask = token < tokens - tile * TOKENS
    column_mask = column < FEATURES
    sums = tl.zeros((TOKENS, WIDTH), tl.float32)
    for done in range(0, K, STEP):
        k = done + tl.arange(0, STEP)
        z_mask = token_mask[:, None] & (k < K)[None, :]
        z = tl.load(z_ptr + first * K + (token[:, None] * K + k[None, :]), mask=z_mask, other=0.0)
        weight_mask = (k < K)[:, None] & column_mask[None, :]
        weight = tl.load(weight_ptr + column[None, :] * K + k[:, None], mask=weight_mask, other=0.0)
        # Three products on tensor cores keep the digits of float32; one (tf32) would keep ten bits.
        sums = tl.dot(z.to(tl.float32), weight.to(tl.float32), sums, input_precision="tf32x3")
    if HAS_BIAS:
        sums += tl.load(bias_ptr + column, mask=column_mask, other=0.0).to(tl.float32)[None, :]
    offsets = token[:, None] * FEATURES + column[None, :]
    mask = token_mask[:, None] & column_mask[None, :]
    base = tl.load(base_ptr + first * FEATURES + offsets, mask=mask, other=0.0).to(tl.float32)
    y = (base + scaling * sums).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + first * FEATURES + offsets, y, mask=mask)
