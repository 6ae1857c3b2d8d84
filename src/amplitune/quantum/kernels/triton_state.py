# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: N803
"""What Triton kernels do to a real state of a block of tokens while it is in registers.

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
def pairs(state, p: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Split a state at the wire in place `p` into the amplitudes where it is 0 and where it is 1."""
    return tl.split(tl.permute(tl.reshape(state, (1 << p, 2, 1 << (N - 1 - p), T)), (0, 2, 3, 1)))


@triton.jit
def joined(zero, one, N: tl.constexpr, T: tl.constexpr):
    """Undo `pairs`."""
    return tl.reshape(tl.permute(tl.join(zero, one), (0, 3, 1, 2)), (1 << N, T))


@triton.jit
def swapped(state, UPPER: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Exchange the upper part of UPPER wires with the lower one: P to Q or Q to P."""
    # A loop of one pass keeps the compiler from moving the exchange past its neighbours: without it the
    # backward kernel of 11 qubits and one block stores to shared memory 248 times instead of 72.
    done = 0
    while done < 1:
        parts = tl.reshape(state, (1 << UPPER, 1 << (N - UPPER), T))
        state = tl.reshape(tl.permute(parts, (1, 0, 2)), (1 << N, T))
        done += 1
    return state


@triton.jit
def coefficients(angles_ptr, N: tl.constexpr):
    """Give cos and tan of half the angles of one block, 16 lanes.

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
def of_wire(values, p: tl.constexpr, TAIL: tl.constexpr, SHIFT: tl.constexpr):
    """The value of the wire at place `p` of the upper part; exact, because all other terms are zeros.

    In order P the upper part is the wires 0, ..., H - 1 and N - L, ..., N - 1; in order Q it begins at H.
    """
    return tl.sum(tl.where(tl.arange(0, 16) == (p if p < TAIL else p + SHIFT), values, 0.0), 0)


@triton.jit
def rotate(
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
    Every fifth wire makes up for the cosines of its group, so the norm comes out right, and in between no
    more than four tangents, each at most 2**25, multiply up.
    """
    gain = 1.0
    for p in tl.static_range(UPPER):
        slope = of_wire(tan, p, TAIL, SHIFT)
        gain = gain * of_wire(cos, p, TAIL, SHIFT)
        zero, one = pairs(state, p, N, T)
        if p % 5 == 4 or p == UPPER - 1:
            steep = gain * slope
            state = joined(gain * zero - steep * one, gain * one + steep * zero, N, T)
            gain = 1.0
        else:
            state = joined(zero - slope * one, one + slope * zero, N, T)
    return state


@triton.jit
def parity(bits):
    """1 where a number of up to 16 bits has an odd number of ones, otherwise 0."""
    bits = bits ^ (bits >> 8)
    bits = bits ^ (bits >> 4)
    bits = bits ^ (bits >> 2)
    return (bits ^ (bits >> 1)) & 1


@triton.jit
def odd_mask(MASK: tl.constexpr, REST: tl.constexpr, N: tl.constexpr):
    """1 where |i & MASK| is odd, shape (2**N, 1).

    In two parts, because the compiler then sees that the upper one is a constant of each register.
    """
    upper = parity(tl.arange(0, 1 << (N - REST)) & (MASK >> REST))
    lower = parity(tl.arange(0, 1 << REST) & (MASK & ((1 << REST) - 1)))
    return tl.reshape(upper[:, None] ^ lower[None, :], (1 << N, 1))


@triton.jit
def flip_bits(
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
            state = flip_bit(state, FLIPS[k], FLIPS[k + 1], REST, N, T)
    else:
        for k in tl.static_range(0 + FLIPS[PHASE], 0 + FLIPS[PHASE + 1], 2):
            state = flip_bit(state, FLIPS[k], FLIPS[k + 1], REST, N, T)
    return state


@triton.jit
def flip_bit(
    state, BIT: tl.constexpr, MASK: tl.constexpr, REST: tl.constexpr, N: tl.constexpr, T: tl.constexpr
):
    """One flip of `flip_bits`."""
    zero, one = pairs(state, N - 1 - BIT, N, T)
    odd, _ = pairs(odd_mask(MASK, REST, N), N - 1 - BIT, N, 1)
    odd = odd != 0
    return joined(tl.where(odd, one, zero), tl.where(odd, zero, one), N, T)


@triton.jit
def entangle(
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
    """Run the entangler or its inverse in order P: signs for CZ, phases of flips for CNOT."""
    if SIGNS:
        sign = tl.load(sign_ptr + tl.arange(0, 1 << N))
        state = tl.where((sign < 0)[:, None], -state, state)
    else:
        state = flip_bits(state, FLIPS, 2 if INVERSE else 0, INVERSE, REST, N, T)
        if FLIPS[1] < FLIPS[2]:
            state = swapped(state, UPPER, N, T)
            state = flip_bits(state, FLIPS, 1, INVERSE, REST, N, T)
            state = swapped(state, N - UPPER, N, T)
        state = flip_bits(state, FLIPS, 0 if INVERSE else 2, INVERSE, REST, N, T)
    return state


@triton.jit
def load_rows(
    x_ptr,
    block,
    tokens,
    FEATURES: tl.constexpr,
    H: tl.constexpr,
    L: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
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
def run_block(state, angles_ptr, H: tl.constexpr, L: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """Run one block of rotations, from order P to order Q."""
    cos, tan = coefficients(angles_ptr, N)
    state = swapped(rotate(state, cos, tan, H + L, H, N - H - L, N, T), H + L, N, T)
    return rotate(state, cos, tan, N - H - L, 0, H, N, T)


@triton.jit
def evolve(
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
            state = run_block(state, angles_ptr + block * N, H, L, N, T)
            state = swapped(state, N - H - L, N, T)
            state = entangle(state, table_ptr, SIGNS, FLIPS, False, H + L, REST, N, T)
    return run_block(state, angles_ptr + (BLOCKS - 1) * N, H, L, N, T)


@triton.jit
def signed_sum(values, MASK: tl.constexpr, REST: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """sum_i (-1)^|i & MASK| values_i, shape (T,).

    The first halvings stay within threads (REST wires are left to lanes), and the compiler shares those that
    several words have in common.
    """
    for step in tl.static_range(N - REST):
        zero, one = tl.split(tl.permute(tl.reshape(values, (2, 1 << (N - 1 - step), T)), (1, 2, 0)))
        values = zero - one if (MASK >> (N - 1 - step)) & 1 else zero + one
    if MASK & ((1 << REST) - 1):
        odd = parity(tl.arange(0, 1 << REST) & (MASK & ((1 << REST) - 1)))
        values = tl.where((odd != 0)[:, None], -values, values)
    return tl.sum(values, 0)


@triton.jit
def exchanged(state, FLIP: tl.constexpr, N: tl.constexpr, T: tl.constexpr):
    """The amplitudes i XOR FLIP."""
    for bit in tl.static_range(N):
        if (FLIP >> bit) & 1:
            zero, one = pairs(state, N - 1 - bit, N, T)
            state = joined(one, zero, N, T)
    return state


@triton.jit
def measured(
    state,
    squares,
    inverse,
    WORDS: tl.constexpr,
    M: tl.constexpr,
    COLUMNS: tl.constexpr,
    REST: tl.constexpr,
    N: tl.constexpr,
    T: tl.constexpr,
):
    """The values of Pauli words, shape (T, COLUMNS), from a state, its squares and one over their sum."""
    column = tl.arange(0, COLUMNS)[None, :]
    z = tl.zeros((T, COLUMNS), tl.float32)
    for word in tl.static_range(M):
        if WORDS[3 * word + 2] != 0:
            if WORDS[3 * word] == 0:
                value = signed_sum(squares, WORDS[3 * word + 1], REST, N, T)
            else:
                products = state * exchanged(state, WORDS[3 * word], N, T)
                value = signed_sum(products, WORDS[3 * word + 1], REST, N, T)
            value = value * WORDS[3 * word + 2] * inverse
            z = tl.where(column == word, value[:, None], z)
    return z
