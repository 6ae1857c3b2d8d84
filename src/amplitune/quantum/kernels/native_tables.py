"""Tables of the native kernel: how it walks over a state, and how it folds it into the readouts."""

import ctypes
from dataclasses import dataclass
from itertools import accumulate

from amplitune.quantum.program import Program


class Layout(ctypes.Structure):
    """The structure Tables of native.c, field by field."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("n_qubits", "bits", "blocks", "n_words", "passes")),
        *((name, ctypes.c_int32) for name in ("n_steps", "work", "leaves")),
        *(
            (name, ctypes.c_void_p)
            for name in ("radix", "steps", "source", "sign", "word", "place", "word_sign")
        ),
    ]


@dataclass(frozen=True, eq=False)
class Tables:
    """A program's tables in memory.

    Args:
        address: where the structure is.
        owned: the structure and its arrays, which must live as long.
    """

    address: int
    owned: tuple[object, ...]


def tables(program: Program, lanes: int, widest: int) -> Tables:
    """Make the tables of a program for one vector width.

    Args:
        program: a real program whose words have Z only.
        lanes: numbers in a vector, a power of two.
        widest: wires that one pass over the state may rotate.

    Returns:
        The tables.
    """
    lane_bits = lanes.bit_length() - 1
    # A state smaller than a vector gets wires in front, which stay in |0>.
    bits = max(program.n_qubits, lane_bits)
    masks = [word.z for word in program.words]
    steps, places, work, leaves = folding([*masks, 0], bits, lane_bits, widest)
    signs = [word.sign for word in program.words]
    arrays = {
        "radix": (ctypes.c_int32, list(reversed(groups(bits - lane_bits, widest)))),
        "steps": (ctypes.c_int32, [entry for step in steps for entry in step]),
        "word": (ctypes.c_int32, masks),
        "place": (ctypes.c_int32, places),
        "word_sign": (ctypes.c_int8, signs),
    }
    if program.blocks > 1:
        size = 2**program.n_qubits
        arrays["source"] = (ctypes.c_int32, [*program.source.tolist(), *range(size, 2**bits)])
        if program.entangling_gate == "CZ":
            arrays["sign"] = (ctypes.c_int8, [*program.sign.tolist(), *[1] * (2**bits - size)])
    made = {name: (kind * len(values))(*values) for name, (kind, values) in arrays.items()}
    layout = Layout(
        n_qubits=program.n_qubits,
        bits=bits,
        blocks=program.blocks,
        n_words=len(masks),
        passes=len(groups(bits - lane_bits, widest)),
        n_steps=len(steps),
        work=work,
        leaves=leaves,
        **{name: ctypes.addressof(array) for name, array in made.items()},
    )
    return Tables(ctypes.addressof(layout), (layout, *made.values()))


def groups(wires: int, widest: int) -> list[int]:
    """Split wires into the fewest groups, as even as can be, the larger ones first.

    Args:
        wires: their number.
        widest: the size of a group at most.

    Returns:
        The sizes; one group of none if there are no wires.

    Example:
        >>> groups(7, 4), groups(9, 4), groups(0, 4)
        ([4, 3], [3, 3, 3], [0])
    """
    count = max(1, -(-wires // widest))
    return [wires // count + (group < wires % count) for group in range(count)]


def folding(
    masks: list[int], bits: int, lane_bits: int, widest: int
) -> tuple[list[list[int]], list[int], int, int]:
    """Plan how a vector p of 2**bits numbers is folded into its sums under many patterns of signs.

        sum_i (-1)^|i & mask| p_i   for each mask

    Masks that agree on the most significant wires share the sums over them: a group of wires at a time, each
    partial sum that some mask needs is made once. For Z behind a ring this costs about 4 additions for each
    number, whatever the number of masks.

    Args:
        masks: the signs' masks.
        bits: wires.
        lane_bits: the least significant of them, inside a vector; their signs come last, all at once.
        widest: wires that one step may fold.

    Returns:
        The steps, in the order in which they run, each as [wires, length, source, destination, wanted]: it
        reads 2**wires pieces of `length` vectors at `source` (-1: the state) and writes one piece for each
        bit of `wanted`, one after the other at `destination`;
        for each mask where its sum ends, in numbers; the vectors of work space; and how many of them, at the
        beginning, hold the result.
    """
    steps: list[list[int]] = []
    sources = {0: -1}
    sizes = groups(bits - lane_bits, widest)
    below = [bits - taken for taken in accumulate(sizes)]
    leaves = len({mask >> lane_bits for mask in masks})
    free = leaves
    for wires, rest in zip(sizes, below, strict=True):
        last = rest == lane_bits
        length = 2 ** (rest - lane_bits)
        destination = 0 if last else free
        found: dict[int, int] = {}
        for node, source in sources.items():
            patterns = sorted({mask >> rest for mask in masks if mask >> (rest + wires) == node})
            wanted = sum(1 << (pattern & (2**wires - 1)) for pattern in patterns)
            steps.append([wires, length, source, destination, wanted])
            for pattern in patterns:
                found[pattern] = destination
                destination += length
        free = free if last else destination
        sources = found
    places = [(sources[mask >> lane_bits] << lane_bits) + (mask & (2**lane_bits - 1)) for mask in masks]
    return steps, places, free, leaves
