"""Entanglers of CNOT gates as conditional flips of bits, in phases that flip one half of the bits only."""

from collections.abc import Iterable

#: A flip (t, mask): basis states with an odd number of ones under the mask flip their bit t.
Flip = tuple[int, int]
#: A linear map over GF(2): row t is the mask of the bits whose sum is bit t of the result.
Rows = list[int]


def apply(flips: Iterable[Flip], state: int) -> int:
    """Send a basis state through flips.

    Args:
        flips: in the order of action.
        state: index of the basis state.

    Returns:
        The index of the state it becomes.

    Example:
        >>> apply([(0, 0b10), (1, 0b01)], 0b10)
        1
    """
    for bit, mask in flips:
        state ^= ((state & mask).bit_count() & 1) << bit
    return state


def phases(rows: Rows, upper: int) -> tuple[list[Flip], list[Flip], list[Flip]]:
    """Factorise an invertible linear map into flips of upper, of lower and again of upper bits.

    With the upper bits u and the lower bits v, and the map u' = A u + B v, v' = C u + D v: there is a Y that
    makes D + C Y invertible, because the rows of (C D) are independent. So

        u <- u + Y v;   v <- C u + (D + C Y) v;   u <- what is left, a map that leaves v alone

    A map without B and C is one phase, without a change to the other half in between.

    Args:
        rows: the map.
        upper: how many bits, the most significant ones, are the upper ones.

    Returns:
        The flips of the three phases, each in the order of action.
    """
    lower = len(rows) - upper
    low, high = range(lower), range(lower, len(rows))
    first: list[Flip] = []
    spanned: list[int] = []
    waiting = [column for column in low if not _extend(spanned, _column(rows, column, low))]
    for column in waiting:
        source = next(bit for bit in high if _extend(spanned, _column(rows, bit, low)))
        first.append((source, 1 << column))
    left = _before(rows, first)
    second = _half(left, low)
    third = _half(_before(left, second), high)
    return first, second, third


def _column(rows: Rows, column: int, of: range) -> int:
    """A column of some rows of a map, as a mask."""
    return sum(((rows[row] >> column) & 1) << row for row in of)


def _extend(basis: list[int], vector: int) -> bool:
    """Add a vector to a basis unless it is in its span; tell whether it was added."""
    for element in basis:
        vector = min(vector, vector ^ element)
    if vector:
        basis.append(vector)
        basis.sort(reverse=True)
    return bool(vector)


def _before(rows: Rows, flips: list[Flip]) -> Rows:
    """What is left to do of a map when flips have been done: map times their inverse."""
    rows = list(rows)
    for bit, mask in flips:
        rows = [row ^ (mask if (row >> bit) & 1 else 0) for row in rows]
    return rows


def _half(rows: Rows, bits: range) -> list[Flip]:
    """Flips of `bits` only that give these bits their rows of a map, whatever the other bits are."""
    inside = sum(1 << bit for bit in bits)
    square = {bit: rows[bit] & inside for bit in bits}
    undone: list[Flip] = []
    for pivot in bits:
        if not (square[pivot] >> pivot) & 1:
            other = next(bit for bit in bits if bit > pivot and (square[bit] >> pivot) & 1)
            undone.append((pivot, 1 << other))
            square[pivot] ^= square[other]
        for bit in bits:
            if bit != pivot and (square[bit] >> pivot) & 1:
                undone.append((bit, 1 << pivot))
                square[bit] ^= square[pivot]
    flips = undone[::-1] + [(bit, rows[bit] & ~inside) for bit in bits if rows[bit] & ~inside]
    merged: list[Flip] = []
    for bit, mask in flips:
        if merged and merged[-1][0] == bit:
            merged[-1] = (bit, merged[-1][1] ^ mask)
        else:
            merged.append((bit, mask))
    return [flip for flip in merged if flip[1]]
