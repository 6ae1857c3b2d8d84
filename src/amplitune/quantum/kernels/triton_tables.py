"""What the Triton kernels are told of a program: where amplitudes lie, how they move, and what is read."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from amplitune.quantum.constants import constant
from amplitune.quantum.kernels.triton_moves import phases
from amplitune.quantum.program import Program, destinations, signs


@dataclass(frozen=True)
class Shape:
    """How a kernel lays a state out over threads.

    Args:
        tokens: tokens of one step of a thread block, a power of two.
        warps: warps of a thread block.
        head: outermost wires whose amplitudes a thread holds when rows are loaded.
        tail: innermost wires, likewise.
        rest: wires that are left to lanes when a state is summed up.
    """

    tokens: int
    warps: int
    head: int
    tail: int
    rest: int


def shape_of(n_qubits: int, element_size: int, backward: bool) -> Shape:
    """Choose a shape; by the compiler's reports on registers, not yet tuned on a device.

    One warp holds up to 2**11 amplitudes, 64 in the registers of each thread, and exchanges them without a
    barrier: at 11 qubits the forward kernel then takes 128 to 168 registers and the backward kernel, with two
    states, 168 to 255, and nothing of the states is spilled. Two warps hold more. Four were tried for the
    backward kernel at 13 qubits: six wires in registers and seven in threads need a third exchange, which the
    compiler made of 4 times as many instructions. Small states share a warp: that many tokens.

    Args:
        n_qubits: number of wires n, 1 to 13.
        element_size: bytes of an element of the input; a thread loads up to 16 bytes at once.
        backward: whether two states are held.

    Returns:
        The shape.
    """
    amplitudes = 2**10 if backward and n_qubits < 11 else 2**11
    tokens = min(64, max(1, amplitudes >> n_qubits))
    warps = 1 if n_qubits < 12 else 2
    threads = 5 + warps.bit_length() - 1
    tail = min(n_qubits, 3 if element_size == 2 else 2)
    return Shape(
        tokens=tokens,
        warps=warps,
        head=max(0, n_qubits - tail - threads),
        tail=tail,
        rest=min(n_qubits, max(0, threads - (tokens.bit_length() - 1))),
    )


def _places(n_qubits: int, head: int, tail: int, middle_first: bool) -> Tensor:
    """The basis state at each place of order Q (middle wires | outer wires) or P (outer | middle)."""
    middle = n_qubits - head - tail
    states = torch.arange(2**n_qubits, device="cpu").view(2**head, 2**middle, 2**tail)
    return states.permute((1, 0, 2) if middle_first else (0, 2, 1)).reshape(-1)


@lru_cache(maxsize=256)
def flips_of(program: Program, head: int, tail: int) -> tuple[int, ...]:
    """Factorise a program's entangler of CNOT gates into flips of bits that a kernel holds in registers.

    Args:
        program: a real program.
        head: see `Shape`.
        tail: see `Shape`.

    Returns:
        Three phases, in the orders P, Q and P; all empty for CZ gates, which move nothing. In one tuple,
        since kernels take no nested ones: first where each phase begins and the last one ends, then the bit
        and the mask of each flip in the order of action.
    """
    n = program.n_qubits
    destination = destinations(program.pairs, program.entangling_gate, n)
    states, others = (_places(n, head, tail, middle_first) for middle_first in (False, True))
    place = torch.argsort(states)
    images = [int(place[destination[states[1 << bit]]]) for bit in range(n)]
    rows = [sum(((image >> row) & 1) << bit for bit, image in enumerate(images)) for row in range(n)]
    first, second, third = phases(rows, upper=head + tail)
    # An order of wires permutes the bits of masks and of states alike.
    moved = torch.argsort(others)[states].tolist()
    second = [(moved[1 << bit].bit_length() - 1, moved[mask]) for bit, mask in second]
    starts, numbers = [4], list[int]()
    for phase in (first, second, third):
        numbers += [number for flip in phase for number in flip]
        starts.append(4 + len(numbers))
    return (*starts, *numbers)


def tables(program: Program, head: int, tail: int) -> Tensor:
    """Tabulate what belongs to the place of an amplitude.

    Args:
        program: a real program.
        head: see `Shape`.
        tail: see `Shape`.

    Returns:
        int32 on the CPU, shape (2, 2**n): the sign that CZ gates give, in order P; and the basis state, after
        an entangler at the very end, to which a place belongs when a program ends, in order Q.
    """
    n, pairs, gate = program.n_qubits, program.pairs, program.entangling_gate
    begun, ended = (_places(n, head, tail, middle_first) for middle_first in (False, True))
    state = destinations(pairs, gate, n)[ended] if program.folded else ended
    return torch.stack([signs(pairs, gate, n)[begun], state]).to(torch.int32)


def tables_on(program: Program, shape: Shape, device: torch.device) -> Tensor:
    """`tables` on a device, kept there."""
    return constant(tables, program, shape.head, shape.tail, device=device, dtype=torch.int32)


@lru_cache(maxsize=256)
def words_of(program: Program, head: int, tail: int, most: int) -> tuple[tuple[int, ...], ...]:
    """Bring Pauli words into the order of places in which a state ends.

    On a real state a word with an odd number of Y has the value 0, and one with an even number has

        <P> = sign (-1)^(|x & z| / 2) sum_i (-1)^|i & z| psi_i psi_(i XOR x)

    Args:
        program: a real program.
        head: see `Shape`.
        tail: see `Shape`.
        most: words of one launch.

    Returns:
        For each launch (x, z, factor) of its words one after the other; one empty launch for basis
        probabilities.
    """
    # A mask is the basis state that has its bits: an order of wires permutes both alike.
    place = torch.argsort(_places(program.n_qubits, head, tail, True)).tolist()
    words = []
    for word in program.words:
        both = (word.x & word.z).bit_count()
        factor = 0 if both % 2 else word.sign * (-1) ** (both // 2)
        words.append((place[word.x], place[word.z], factor))
    launches = [words[first : first + most] for first in range(0, len(words), most)] or [[]]
    return tuple(tuple(number for word in launch for number in word) for launch in launches)
