# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: N803
"""Triton kernels that run a real program's whole forward, or whole backward, while a state is in registers.

A state is a tensor of shape (2**N, T): T tokens, tokens last. Its first dimension is in one of two orders.
A thread block loads a row with lanes on the middle wires; the outermost H and the innermost L wires then lie
in the registers of one thread, where a rotation moves no data. Order P is (outer wires | middle wires), order
Q is (middle wires | outer wires): a rotation always acts on a wire of the upper part, and one transposition
between the halves is all that a block of rotations moves between threads. (The compiler was seen to emit
exactly this: 11 qubits on one warp exchange data once, by 16 shared-memory stores and loads.)
"""

import triton
import triton.language as tl


@triton.jit
def _pairs(state, p: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Split a state at the wire in place `p` into the amplitudes where it is 0 and where it is 1."""
    return tl.split(tl.permute(tl.reshape(state, (1 << p, 2, 1 << (N - 1 - p), T)), (0, 2, 3, 1)))


@triton.jit
def _joined(zero, one, N: tl.constexpr, T: tl.constexpr):
    """Undo `_pairs`."""
    return tl.reshape(tl.permute(tl.join(zero, one), (0, 3, 1, 2)), (1 << N, T))


@triton.jit
def _swapped(state, UPPER: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Exchange the upper part of UPPER wires with the lower one: P to Q or Q to P."""
    done = 0
    while done < 1:
        parts = tl.reshape(state, (1 << UPPER, 1 << (N - UPPER), T))
        state = tl.reshape(tl.permute(parts, (1, 0, 2)), (1 << N, T))
        done += 1
    return state


@triton.jit
def _coefficients(angles_ptr, N: tl.constexpr):
    """cos and tan of half the angles of one block, 16 lanes.

    Where the cosine vanishes the tangent would be infinite; the least cosine moves an angle by 6e-8, less
    than the spacing of floats around pi.
    """
    lane = tl.arange(0, 16)
    half = tl.load(angles_ptr + lane, mask=lane < N, other=0.0).to(tl.float32) * 0.5
    cos = tl.cos(half)
    sin = tl.sin(half)
    least = 2.9802322387695312e-08
    cos = tl.where(tl.abs(cos) < least, tl.where(cos < 0, -least, least), cos)
    return cos, sin / cos


@triton.jit
def _of_wire(values, p: tl.constexpr, TAIL: tl.constexpr, SHIFT: tl.constexpr):
    """The value of the wire at place `p` of the upper part; exact, because all other terms are zeros.

    In order P the upper part is the wires 0, ..., H - 1 and N - L, ..., N - 1; in order Q it begins at wire H.
    """
    return tl.sum(tl.where(tl.arange(0, 16) == (p if p < TAIL else p + SHIFT), values, 0.0), 0)


@triton.jit
def _rotate(
    state,
    cos,
    tan,
    UPPER: tl.constexpr,
    TAIL: tl.constexpr,
    SHIFT: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """Rotate the wires of the upper part.

    RY = cos * [[1, -tan], [tan, 1]]: without the cosine it is one multiply-add per amplitude instead of two.
    Every fifth wire makes up for the cosines of its group, so the norm comes out right, and in between no more
    than four tangents, each at most 2**25, multiply up.
    """
    gain = 1.0
    for p in tl.static_range(UPPER):
        slope = _of_wire(tan, p, TAIL, SHIFT)
        gain = gain * _of_wire(cos, p, TAIL, SHIFT)
        zero, one = _pairs(state, p, N, T)
        if p % 5 == 4 or p == UPPER - 1:
            steep = gain * slope
            state = _joined(gain * zero - steep * one, gain * one + steep * zero, N, T)
            gain = 1.0
        else:
            state = _joined(zero - slope * one, one + slope * zero, N, T)
    return state


@triton.jit
def _parity(bits):
    """1 where a number of up to 16 bits has an odd number of ones, otherwise 0."""
    bits = bits ^ (bits >> 8)
    bits = bits ^ (bits >> 4)
    bits = bits ^ (bits >> 2)
    return (bits ^ (bits >> 1)) & 1


@triton.jit
def _odd(MASK: tl.constexpr, REST: tl.constexpr, N: tl.constexpr):
    """1 where |i & MASK| is odd, shape (2**N, 1).

    In two parts, because the compiler then sees that the upper one is a constant of each register.
    """
    upper = _parity(tl.arange(0, 1 << (N - REST)) & (MASK >> REST))
    lower = _parity(tl.arange(0, 1 << REST) & (MASK & ((1 << REST) - 1)))
    return tl.reshape(upper[:, None] ^ lower[None, :], (1 << N, 1))


@triton.jit
def _flipped(
    state,
    FLIPS: tl.constexpr,
    PHASE: tl.constexpr,
    INVERSE: tl.constexpr,
    REST: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """Flip bits of basis states where masks have an odd number of ones, one flip after the other.

    tl.gather would do any permutation at once, but within a warp it is lowered to a shuffle and a selection
    for each pair of registers: 60,000 instructions at 11 qubits.
    """
    if INVERSE:
        for k in tl.static_range(FLIPS[PHASE + 1] - 2, FLIPS[PHASE] - 2, -2):
            state = _flip(state, FLIPS[k], FLIPS[k + 1], REST, N, T)
    else:
        for k in tl.static_range(0 + FLIPS[PHASE], 0 + FLIPS[PHASE + 1], 2):
            state = _flip(state, FLIPS[k], FLIPS[k + 1], REST, N, T)
    return state


@triton.jit
def _flip(state, BIT: tl.constexpr, MASK: tl.constexpr, REST: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """One flip of `_flipped`."""
    zero, one = _pairs(state, N - 1 - BIT, N, T)
    odd, _ = _pairs(_odd(MASK, REST, N), N - 1 - BIT, N, 1)
    odd = odd != 0
    return _joined(tl.where(odd, one, zero), tl.where(odd, zero, one), N, T)


@triton.jit
def _entangled(
    state,
    sign_ptr,
    SIGNS: tl.constexpr,
    FLIPS: tl.constexpr,
    INVERSE: tl.constexpr,
    UPPER: tl.constexpr,
    REST: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """Run the entangler or its inverse in order P: signs for CZ, for CNOT flips of outer, middle, outer bits."""
    if SIGNS:
        sign = tl.load(sign_ptr + tl.arange(0, 1 << N))
        state = tl.where((sign < 0)[:, None], -state, state)
    else:
        state = _flipped(state, FLIPS, 2 if INVERSE else 0, INVERSE, REST, N, T)
        if FLIPS[1] < FLIPS[2]:
            state = _swapped(state, UPPER, N, T)
            state = _flipped(state, FLIPS, 1, INVERSE, REST, N, T)
            state = _swapped(state, N - UPPER, N, T)
        state = _flipped(state, FLIPS, 0 if INVERSE else 2, INVERSE, REST, N, T)
    return state


@triton.jit
def _load(x_ptr, block, tokens, FEATURES: tl.constexpr, H: tl.constexpr, L: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Load T rows in order P and scale each to a largest magnitude in [1, 2), see power_of_two_scale."""
    feature = tl.arange(0, 1 << N)[:, None]
    token = tl.arange(0, T)[None, :]
    # 64 bits: a tensor may have more than 2**31 elements, one block of rows does not.
    rows_ptr = x_ptr + tl.full((), T * FEATURES, tl.int64) * block
    mask = (feature < FEATURES) & (block * T + token < tokens)
    state = tl.load(rows_ptr + token * FEATURES + feature, mask=mask, other=0.0).to(tl.float32)
    largest = tl.max(tl.abs(state), 0)
    field = largest.to(tl.int32, bitcast=True) & 0x7F800000
    scale = tl.maximum(0x7F000000 - field, 0x00800000).to(tl.float32, bitcast=True)
    parts = tl.reshape(state * scale[None, :], (1 << H, 1 << (N - H - L), 1 << L, T))
    return tl.reshape(tl.permute(parts, (0, 2, 1, 3)), (1 << N, T)), scale


@triton.jit
def _block(state, angles_ptr, H: tl.constexpr, L: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Run one block of rotations, from order P to order Q."""
    cos, tan = _coefficients(angles_ptr, N)
    state = _swapped(_rotate(state, cos, tan, H + L, H, N - H - L, N, T), H + L, N, T)
    return _rotate(state, cos, tan, N - H - L, 0, H, N, T)


@triton.jit
def _evolve(
    state,
    angles_ptr,
    table_ptr,
    BLOCKS: tl.constexpr,
    SIGNS: tl.constexpr,
    FLIPS: tl.constexpr,
    REST: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """Run a program, from order P to order Q.

    The loop over blocks is not unrolled: the time to compile must not grow with the depth.
    """
    if BLOCKS > 1:
        for block in range(BLOCKS - 1):
            state = _block(state, angles_ptr + block * N, H, L, N, T)
            state = _swapped(state, N - H - L, N, T)
            state = _entangled(state, table_ptr, SIGNS, FLIPS, False, H + L, REST, N, T)
    return _block(state, angles_ptr + (BLOCKS - 1) * N, H, L, N, T)


@triton.jit
def _signed_sum(values, MASK: tl.constexpr, REST: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """sum_i (-1)^|i & MASK| values_i, shape (T,).

    The first halvings stay within threads (REST wires are left to lanes), and the compiler shares those that
    several words have in common.
    """
    for step in tl.static_range(N - REST):
        zero, one = tl.split(tl.permute(tl.reshape(values, (2, 1 << (N - 1 - step), T)), (1, 2, 0)))
        if (MASK >> (N - 1 - step)) & 1:
            values = zero - one
        else:
            values = zero + one
    if MASK & ((1 << REST) - 1):
        odd = _parity(tl.arange(0, 1 << REST) & (MASK & ((1 << REST) - 1)))
        values = tl.where((odd != 0)[:, None], -values, values)
    return tl.sum(values, 0)


@triton.jit
def _exchanged(state, FLIP: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """The amplitudes i XOR FLIP."""
    for bit in tl.static_range(N):
        if (FLIP >> bit) & 1:
            zero, one = _pairs(state, N - 1 - bit, N, T)
            state = _joined(one, zero, N, T)
    return state


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
    """z of every token, by thread blocks that take every num_programs-th block of T tokens; circuits in axis 1.

    Args:
        x_ptr: rows, (tokens, FEATURES), contiguous, any float dtype up to 32 bits.
        angles_ptr: (circuits, BLOCKS, N).
        table_ptr: int32 (2, 2**N), see `triton_tables.tables`.
        z_ptr: float32 (tokens, stride_z).
        tokens: number of rows.
        stride_z: values of one token, circuits * STEP.
        SIGNS: whether the entangler is of CZ gates. FLIPS: otherwise what it is, see `flips_of`.
        WORDS: (flip, mask, sign) of each word, bits in the order in which the state ends; a sign of 0 for a
            word whose value is 0 on each real state. Empty for basis probabilities.
        M: number of words. COLUMNS: the next power of two. OFFSET: column of the first one.
        STEP: values of one circuit.
        H, L: outer wires at either end. REST: wires left to lanes. T: tokens of a block.
    """
    circuit = tl.program_id(1)
    token = tl.arange(0, T)
    column = tl.arange(0, COLUMNS)
    for block in range(tl.program_id(0), tl.cdiv(tokens, T), tl.num_programs(0)):
        state, _ = _load(x_ptr, block, tokens, FEATURES, H, L, N, T)
        state = _evolve(state, angles_ptr + circuit * (BLOCKS * N), table_ptr, BLOCKS, SIGNS, FLIPS, REST, H, L, N, T)
        squares = state * state
        norm = _signed_sum(squares, 0, REST, N, T)
        norm = tl.where(norm == 0, 1.0, norm)
        valid = block * T + token < tokens
        rows_ptr = z_ptr + tl.full((), T, tl.int64) * block * stride_z + circuit * STEP + OFFSET
        if M == 0:
            state_of = tl.load(table_ptr + (1 << N) + tl.arange(0, 1 << N))
            offsets = token[None, :] * stride_z + state_of[:, None]
            tl.store(rows_ptr + offsets, squares / norm[None, :], mask=valid[None, :])
        else:
            z = tl.zeros((T, COLUMNS), tl.float32)
            for word in tl.static_range(M):
                if WORDS[3 * word + 2] != 0:
                    if WORDS[3 * word] == 0:
                        value = _signed_sum(squares, WORDS[3 * word + 1], REST, N, T)
                    else:
                        products = state * _exchanged(state, WORDS[3 * word], N, T)
                        value = _signed_sum(products, WORDS[3 * word + 1], REST, N, T)
                    value = value * WORDS[3 * word + 2] / norm
                    z = tl.where(column[None, :] == word, value[:, None], z)
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
        zero, one = _pairs(state, p, N, T)
        upper, lower = _pairs(adjoint, p, N, T)
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
    cos, tan = _coefficients(angles_ptr, N)
    gradients = tl.zeros((16,), tl.float32)
    gradients = _angle_gradients(gradients, adjoint, state, N - H - L, 0, H, N, T)
    adjoint = _swapped(_rotate(adjoint, cos, -tan, N - H - L, 0, H, N, T), N - H - L, N, T)
    state = _swapped(_rotate(state, cos, -tan, N - H - L, 0, H, N, T), N - H - L, N, T)
    gradients = _angle_gradients(gradients, adjoint, state, H + L, H, N - H - L, N, T)
    adjoint = _rotate(adjoint, cos, -tan, H + L, H, N - H - L, N, T)
    if STATE_TOO:
        state = _rotate(state, cos, -tan, H + L, H, N - H - L, N, T)
    return adjoint, state, gradients


@triton.jit
def _add(partial_ptr, gradients, block, N: tl.constexpr):
    """Add gradients to the thread block's own sums: no atomics, so the sum over blocks has one fixed order."""
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
    COLUMNS: tl.constexpr,
    OFFSET: tl.constexpr,
    STEP: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    REST: tl.constexpr,
    T: tl.constexpr,
    NEED_X: tl.constexpr,
):
    """One circuit's part of `backward_kernel`: writes z and the angles' partial sums, returns dL/drows in P."""
    angles_ptr += circuit * (BLOCKS * N)
    state = _evolve(rows, angles_ptr, table_ptr, BLOCKS, SIGNS, FLIPS, REST, H, L, N, T)
    token = tl.arange(0, T)
    valid = block * T + token < tokens
    row_offset = tl.full((), T, tl.int64) * block * stride_z + circuit * STEP + OFFSET
    squares = state * state
    norm = _signed_sum(squares, 0, REST, N, T)
    inverse = 1.0 / tl.where(norm == 0, 1.0, norm)
    mean = tl.zeros((T,), tl.float32)
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
        z = tl.zeros((T, COLUMNS), tl.float32)
        for word in tl.static_range(M):
            if WORDS[3 * word + 2] != 0:
                if WORDS[3 * word] == 0:
                    value = _signed_sum(squares, WORDS[3 * word + 1], REST, N, T)
                else:
                    products = state * _exchanged(state, WORDS[3 * word], N, T)
                    value = _signed_sum(products, WORDS[3 * word + 1], REST, N, T)
                value = value * WORDS[3 * word + 2] * inverse
                z = tl.where(column[None, :] == word, value[:, None], z)
        offsets = row_offset + token[:, None] * stride_z + column[None, :]
        mask = valid[:, None] & (column < M)[None, :]
        tl.store(z_ptr + offsets, z, mask=mask)
        mean = tl.sum(tl.load(grad_ptr + offsets, mask=mask, other=0.0) * z, 1)
        weights = tl.broadcast_to((-2 * mean * inverse)[None, :], (1 << N, T))
        adjoint = tl.zeros((1 << N, T), tl.float32)
        for word in tl.static_range(M):
            if WORDS[3 * word + 2] != 0:
                grad = tl.load(grad_ptr + row_offset + token * stride_z + word, mask=valid, other=0.0)
                grad = grad * (2 * WORDS[3 * word + 2]) * inverse
                odd = _odd(WORDS[3 * word + 1], REST, N) != 0
                signed = tl.where(odd, -grad[None, :], grad[None, :])
                if WORDS[3 * word] == 0:
                    weights += signed
                else:
                    adjoint += signed * _exchanged(state, WORDS[3 * word], N, T)
        adjoint += weights * state
    last: tl.constexpr = BLOCKS - 1
    adjoint, state, gradients = _undone(adjoint, state, angles_ptr + last * N, BLOCKS > 1, H, L, N, T)
    partial_ptr += circuit * (BLOCKS * N)
    _add(partial_ptr + last * N, gradients, block, N)
    if BLOCKS > 1:
        for back in range(BLOCKS - 1):
            step = BLOCKS - 2 - back
            adjoint = _entangled(adjoint, table_ptr, SIGNS, FLIPS, True, H + L, REST, N, T)
            adjoint = _swapped(adjoint, H + L, N, T)
            state = _entangled(state, table_ptr, SIGNS, FLIPS, True, H + L, REST, N, T)
            state = _swapped(state, H + L, N, T)
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

    Args: those of `forward_kernel`, and
        grad_ptr: dL/dz, float32 (tokens, stride_z).
        dx_ptr: (tokens, FEATURES) in the dtype of x; not touched unless NEED_X.
        partial_ptr: float32 (num_programs, CIRCUITS, BLOCKS, N).
    """
    partial_ptr += tl.program_id(0) * (CIRCUITS * BLOCKS * N)
    for block in range(tl.program_id(0), tl.cdiv(tokens, T), tl.num_programs(0)):
        rows, scale = _load(x_ptr, block, tokens, FEATURES, H, L, N, T)
        if CIRCUITS == 1:
            dx = _adjoint(
                rows, 0, block, grad_ptr, angles_ptr, table_ptr, partial_ptr, z_ptr, tokens, stride_z,
                N, BLOCKS, SIGNS, FLIPS, WORDS, M, COLUMNS, OFFSET, STEP, H, L, REST, T, NEED_X,
            )  # fmt: skip
        else:
            dx = tl.zeros((1 << N, T), tl.float32)
            for circuit in range(CIRCUITS):
                dx += _adjoint(
                    rows, circuit, block, grad_ptr, angles_ptr, table_ptr, partial_ptr, z_ptr, tokens, stride_z,
                    N, BLOCKS, SIGNS, FLIPS, WORDS, M, COLUMNS, OFFSET, STEP, H, L, REST, T, NEED_X,
                )  # fmt: skip
        if NEED_X:
            parts = tl.reshape(dx * scale[None, :], (1 << H, 1 << L, 1 << (N - H - L), T))
            dx = tl.reshape(tl.permute(parts, (0, 2, 1, 3)), (1 << N, T))
            feature = tl.arange(0, 1 << N)[:, None]
            token = tl.arange(0, T)[None, :]
            mask = (feature < FEATURES) & (block * T + token < tokens)
            rows_ptr = dx_ptr + tl.full((), T * FEATURES, tl.int64) * block
            tl.store(rows_ptr + token * FEATURES + feature, dx.to(dx_ptr.dtype.element_ty), mask=mask)
