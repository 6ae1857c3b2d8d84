# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: N803
"""Triton kernels that run a real program's forward, or its backward, with the state in registers."""

import triton
import triton.language as tl

from amplitune.quantum.kernels.triton_state import (
    coefficients,
    entangle,
    evolve,
    exchanged,
    load_rows,
    measured,
    odd_mask,
    pairs,
    parity,
    rotate,
    signed_sum,
    swapped,
)


@triton.jit
def forward_kernel(
    x_ptr,
    angles_ptr,
    table_ptr,
    z_ptr,
    tokens,
    stride_z,
    FEATURES: tl.constexpr,
    N: tl.constexpr,
    BLOCKS: tl.constexpr,
    SIGNS: tl.constexpr,
    FLIPS: tl.constexpr,
    WORDS: tl.constexpr,
    M: tl.constexpr,
    COLUMNS: tl.constexpr,
    OFFSET: tl.constexpr,
    STEP: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    REST: tl.constexpr,
    T: tl.constexpr,
):
    """Compute z; a thread block takes every num_programs-th block of T tokens, axis 1 is the circuit.

    x is (tokens, FEATURES), contiguous, of any float dtype up to 32 bits; angles (circuits, BLOCKS, N); the
    table and FLIPS as `triton_tables` makes them (SIGNS: CZ gates); z is float32 (tokens, stride_z) with STEP
    values for each circuit, of which this launch writes M from OFFSET on; COLUMNS is the power of two from M
    on. WORDS has (flip, mask, factor) for each word in the order in which the state ends, and none for basis
    probabilities. H and L are the outer wires at either end, REST the wires left to lanes.
    """
    circuit = tl.program_id(1)
    token = tl.arange(0, T)
    column = tl.arange(0, COLUMNS)
    for block in range(tl.program_id(0), tl.cdiv(tokens, T), tl.num_programs(0)):
        state, _ = load_rows(x_ptr, block, tokens, FEATURES, H, L, N, T)
        state = evolve(
            state, angles_ptr + circuit * (BLOCKS * N), table_ptr, BLOCKS, SIGNS, FLIPS, REST, H, L, N, T
        )
        squares = state * state
        norm = signed_sum(squares, 0, REST, N, T)
        inverse = 1.0 / tl.where(norm == 0, 1.0, norm)
        valid = block * T + token < tokens
        rows_ptr = z_ptr + tl.full((), T, tl.int64) * block * stride_z + circuit * STEP + OFFSET
        if M == 0:
            state_of = tl.load(table_ptr + (1 << N) + tl.arange(0, 1 << N))
            offsets = token[None, :] * stride_z + state_of[:, None]
            tl.store(rows_ptr + offsets, squares * inverse[None, :], mask=valid[None, :])
        else:
            z = measured(state, squares, inverse, WORDS, M, COLUMNS, REST, N, T)
            mask = valid[:, None] & (column < M)[None, :]
            tl.store(rows_ptr + token[:, None] * stride_z + column[None, :], z, mask=mask)


@triton.jit
def _angle_gradients(
    gradients,
    adjoint,
    state,
    UPPER: tl.constexpr,
    TAIL: tl.constexpr,
    SHIFT: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """Put dL/dangle = 1/2 sum (lambda_1 psi_0 - lambda_0 psi_1) for the upper part's wires into 16 lanes."""
    for p in tl.static_range(UPPER):
        zero, one = pairs(state, p, N, T)
        upper, lower = pairs(adjoint, p, N, T)
        total = tl.sum(tl.reshape(lower * zero - upper * one, ((T << N) // 2,)), 0)
        wire = tl.arange(0, 16) == (p if p < TAIL else p + SHIFT)
        gradients = tl.where(wire, 0.5 * total, gradients)
    return gradients


@triton.jit
def _undone(
    adjoint,
    state,
    angles_ptr,
    STATE_TOO: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """Undo one block of rotations, from order Q to order P, and take its angles' gradients on the way.

    Rotations on different wires commute, so a wire's gradient may be taken before or after the others are
    undone. The state before the first block is not needed.
    """
    cos, tan = coefficients(angles_ptr, N)
    gradients = tl.zeros((16,), tl.float32)
    gradients = _angle_gradients(gradients, adjoint, state, N - H - L, 0, H, N, T)
    adjoint = swapped(rotate(adjoint, cos, -tan, N - H - L, 0, H, N, T), N - H - L, N, T)
    state = swapped(rotate(state, cos, -tan, N - H - L, 0, H, N, T), N - H - L, N, T)
    gradients = _angle_gradients(gradients, adjoint, state, H + L, H, N - H - L, N, T)
    adjoint = rotate(adjoint, cos, -tan, H + L, H, N - H - L, N, T)
    if STATE_TOO:
        state = rotate(state, cos, -tan, H + L, H, N - H - L, N, T)
    return adjoint, state, gradients


@triton.jit
def _add(partial_ptr, gradients, block, N: tl.constexpr):
    """Add gradients to the thread block's own sums: no atomics, so the order of the sum is fixed."""
    lane = tl.arange(0, 16)
    first = tl.program_id(0) == block
    before = tl.load(partial_ptr + lane, mask=lane < tl.where(first, 0, N), other=0.0)
    tl.store(partial_ptr + lane, before + gradients, mask=lane < N)


@triton.jit
def _adjoint(
    rows,
    circuit,
    block,
    grad_ptr,
    angles_ptr,
    table_ptr,
    partial_ptr,
    z_ptr,
    tokens,
    stride_z,
    N: tl.constexpr,
    BLOCKS: tl.constexpr,
    SIGNS: tl.constexpr,
    FLIPS: tl.constexpr,
    WORDS: tl.constexpr,
    M: tl.constexpr,
    GROUPS: tl.constexpr,
    TOP: tl.constexpr,
    COLUMNS: tl.constexpr,
    OFFSET: tl.constexpr,
    STEP: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    REST: tl.constexpr,
    T: tl.constexpr,
):
    """One circuit's part of `backward_kernel`: writes z and the angles' sums, returns dL/drows in P."""
    angles_ptr += circuit * (BLOCKS * N)
    state = evolve(rows, angles_ptr, table_ptr, BLOCKS, SIGNS, FLIPS, REST, H, L, N, T)
    token = tl.arange(0, T)
    valid = block * T + token < tokens
    row_offset = tl.full((), T, tl.int64) * block * stride_z + circuit * STEP + OFFSET
    squares = state * state
    norm = signed_sum(squares, 0, REST, N, T)
    inverse = 1.0 / tl.where(norm == 0, 1.0, norm)
    if M == 0:
        state_of = tl.load(table_ptr + (1 << N) + tl.arange(0, 1 << N))
        offsets = row_offset + token[None, :] * stride_z + state_of[:, None]
        inside = tl.broadcast_to(valid[None, :], (1 << N, T))
        values = squares * inverse[None, :]
        tl.store(z_ptr + offsets, values, mask=inside)
        weights = tl.load(grad_ptr + offsets, mask=inside, other=0.0)
        mean = tl.sum(weights * values, 0)
        adjoint = (weights - mean[None, :]) * (2 * inverse)[None, :] * state
    else:
        column = tl.arange(0, COLUMNS)
        z = measured(state, squares, inverse, WORDS, M, COLUMNS, REST, N, T)
        offsets = row_offset + token[:, None] * stride_z + column[None, :]
        mask = valid[:, None] & (column < M)[None, :]
        tl.store(z_ptr + offsets, z, mask=mask)
        mean = tl.sum(tl.load(grad_ptr + offsets, mask=mask, other=0.0) * z, 1)
        weights = tl.broadcast_to((-2 * mean * inverse)[None, :], (1 << N, T))
        for group in tl.static_range(len(GROUPS)):
            # Words with the same upper bits are added on the lower bits first, an eighth of the work.
            lower = tl.zeros((1 << (N - TOP), T), tl.float32)
            for word in tl.static_range(M):
                if WORDS[3 * word] == 0 and WORDS[3 * word + 1] >> (N - TOP) == GROUPS[group]:
                    grad = tl.load(grad_ptr + row_offset + token * stride_z + word, mask=valid, other=0.0)
                    grad = (grad * (2 * WORDS[3 * word + 2]) * inverse)[None, :]
                    odd = odd_mask(WORDS[3 * word + 1] & ((1 << (N - TOP)) - 1), REST, N - TOP) != 0
                    lower += tl.where(odd, -grad, grad)
            upper = (parity(tl.arange(0, 1 << TOP) & GROUPS[group]) != 0)[:, None, None]
            signed = tl.where(upper, -lower[None, :, :], lower[None, :, :])
            weights += tl.reshape(signed, (1 << N, T))
        adjoint = weights * state
        for word in tl.static_range(M):
            if WORDS[3 * word] != 0 and WORDS[3 * word + 2] != 0:
                grad = tl.load(grad_ptr + row_offset + token * stride_z + word, mask=valid, other=0.0)
                grad = (grad * (2 * WORDS[3 * word + 2]) * inverse)[None, :]
                odd = odd_mask(WORDS[3 * word + 1], REST, N) != 0
                adjoint += tl.where(odd, -grad, grad) * exchanged(state, WORDS[3 * word], N, T)
    last: tl.constexpr = BLOCKS - 1
    adjoint, state, gradients = _undone(adjoint, state, angles_ptr + last * N, BLOCKS > 1, H, L, N, T)
    partial_ptr += circuit * (BLOCKS * N)
    _add(partial_ptr + last * N, gradients, block, N)
    if BLOCKS > 1:
        for back in range(BLOCKS - 1):
            step = BLOCKS - 2 - back
            adjoint = entangle(adjoint, table_ptr, SIGNS, FLIPS, True, H + L, REST, N, T)
            adjoint = swapped(adjoint, H + L, N, T)
            state = entangle(state, table_ptr, SIGNS, FLIPS, True, H + L, REST, N, T)
            state = swapped(state, H + L, N, T)
            adjoint, state, gradients = _undone(adjoint, state, angles_ptr + step * N, True, H, L, N, T)
            _add(partial_ptr + step * N, gradients, block, N)
    return adjoint


@triton.jit
def backward_kernel(
    grad_ptr,
    x_ptr,
    angles_ptr,
    table_ptr,
    dx_ptr,
    partial_ptr,
    z_ptr,
    tokens,
    stride_z,
    FEATURES: tl.constexpr,
    N: tl.constexpr,
    BLOCKS: tl.constexpr,
    CIRCUITS: tl.constexpr,
    SIGNS: tl.constexpr,
    FLIPS: tl.constexpr,
    WORDS: tl.constexpr,
    M: tl.constexpr,
    GROUPS: tl.constexpr,
    TOP: tl.constexpr,
    COLUMNS: tl.constexpr,
    OFFSET: tl.constexpr,
    STEP: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    REST: tl.constexpr,
    T: tl.constexpr,
    NEED_X: tl.constexpr,
):
    """dL/dx, z and each thread block's sums of dL/dangles, from x alone; the circuits of a token in turn.

    dL/dz is laid out as z is; dL/dx is not touched unless NEED_X; the sums are float32
    (num_programs, CIRCUITS, BLOCKS, N). GROUPS are the different TOP upper bits of the words' masks. All else
    is as in `forward_kernel`.
    """
    partial_ptr += tl.program_id(0) * (CIRCUITS * BLOCKS * N)
    for block in range(tl.program_id(0), tl.cdiv(tokens, T), tl.num_programs(0)):
        rows, scale = load_rows(x_ptr, block, tokens, FEATURES, H, L, N, T)
        if CIRCUITS == 1:
            dx = _adjoint(
                rows, 0, block, grad_ptr, angles_ptr, table_ptr, partial_ptr, z_ptr, tokens, stride_z, N,
                BLOCKS, SIGNS, FLIPS, WORDS, M, GROUPS, TOP, COLUMNS, OFFSET, STEP, H, L, REST, T,
            )  # fmt: skip
        else:
            dx = tl.zeros((1 << N, T), tl.float32)
            for circuit in range(CIRCUITS):
                dx += _adjoint(
                    rows, circuit, block, grad_ptr, angles_ptr, table_ptr, partial_ptr, z_ptr, tokens,
                    stride_z, N, BLOCKS, SIGNS, FLIPS, WORDS, M, GROUPS, TOP, COLUMNS, OFFSET, STEP, H, L,
                    REST, T,
                )  # fmt: skip
        if NEED_X:
            parts = tl.reshape(dx * scale[None, :], (1 << H, 1 << L, 1 << (N - H - L), T))
            dx = tl.reshape(tl.permute(parts, (0, 2, 1, 3)), (1 << N, T))
            feature = tl.arange(0, 1 << N)[:, None]
            token = tl.arange(0, T)[None, :]
            mask = (feature < FEATURES) & (block * T + token < tokens)
            rows_ptr = dx_ptr + tl.full((), T * FEATURES, tl.int64) * block
            tl.store(rows_ptr + token * FEATURES + feature, dx.to(dx_ptr.dtype.element_ty), mask=mask)
