"""The normal form of a circuit: blocks of rotations, what stands between them, and Pauli words at the end."""

from dataclasses import dataclass
from functools import lru_cache, reduce

import torch
from torch import Tensor

from amplitune.quantum.ansatz import Wires
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.gates import as_complex, cnot
from amplitune.quantum.pauli import PauliWord
from amplitune.quantum.readout import PROBABILITIES


@dataclass(frozen=True)
class Program:
    """What a kernel runs; made by `program_of`.

        psi = B_last ... between_1 B_1 between_0 B_0 a,   z_k = <psi| P_k |psi> / <psi|psi>

    Neighbouring rotations are one block. An entangler at the very end never runs: the words are conjugated
    through it, P = E^+ O E, and stay Pauli words because CNOT and CZ are Clifford gates.

    Args:
        n_qubits: number of wires n.
        is_real: whether each block is an RY on each wire.
        rows: for each block, the gates that make it up as (layer, row of angles), in the order of action.
        between: for each gap between two blocks what acts there, in order: "E" the entangler, "V" the
            reflection about the input.
        pairs: wire pairs of the entangler E.
        entangling_gate: "CNOT" or "CZ".
        words: the Pauli words P_k; none for basis probabilities.
        probabilities: whether the readout is basis probabilities.
        folded: whether an entangler at the end was folded into the readout.
    """

    n_qubits: int
    is_real: bool
    rows: tuple[tuple[tuple[int, int], ...], ...]
    between: tuple[str, ...]
    pairs: Wires
    entangling_gate: str
    words: tuple[PauliWord, ...]
    probabilities: bool
    folded: bool

    @property
    def blocks(self) -> int:
        """The number of blocks of rotations."""
        return len(self.rows)

    @property
    def n_observables(self) -> int:
        """The number m of values of one circuit."""
        return 2**self.n_qubits if self.probabilities else len(self.words)

    @property
    def source(self) -> Tensor:
        """The permutation in (E psi)_i = sign_i psi_source(i), int64 on the CPU, shape (2**n,)."""
        return sources(self.pairs, self.entangling_gate, self.n_qubits)

    @property
    def sign(self) -> Tensor:
        """The signs in (E psi)_i = sign_i psi_source(i), int64 on the CPU, shape (2**n,)."""
        return signs(self.pairs, self.entangling_gate, self.n_qubits)


@torch.compiler.assume_constant_result
def program_of(circuit: Circuit) -> Program:
    """Bring a circuit into its normal form.

    Args:
        circuit: the circuit.

    Returns:
        The program.

    Example:
        >>> program = program_of(Circuit(3))
        >>> program.blocks, [word.text(3) for word in program.words]
        (1, ['Z1 Z2', 'Z0 Z1', 'Z0 Z1 Z2'])
    """
    return _program_of(circuit)


@lru_cache(maxsize=256)
def _program_of(circuit: Circuit) -> Program:
    ansatz, n = circuit.ansatz, circuit.n_qubits
    before = len(ansatz.gates) - len(ansatz.gates_after)
    rows: list[list[tuple[int, int]]] = [[]]
    between: list[str] = []
    for layer in range(ansatz.depth):
        if layer and ansatz.reuploading:
            if len(between) == len(rows):
                between[-1] += "V"
            else:
                between.append("V")
        if len(between) == len(rows):
            rows.append([])
        rows[-1] += [(layer, row) for row in range(before)]
        between.append("E")
        if ansatz.gates_after:
            rows.append([(layer, row) for row in range(before, ansatz.rotations)])
    folded = len(between) == len(rows)
    pairs = ansatz.pairs(n)
    words = circuit.observables
    if folded:
        between.pop()
        for pair in reversed(pairs):
            if ansatz.entangling_gate == "CNOT":
                words = tuple(word.before_cnot(*pair, n) for word in words)
            else:
                words = tuple(word.before_cz(*pair, n) for word in words)
    return Program(
        n_qubits=n,
        is_real=circuit.is_real,
        rows=tuple(map(tuple, rows)),
        between=tuple(between),
        pairs=pairs,
        entangling_gate=ansatz.entangling_gate,
        words=words,
        probabilities=circuit.readout == PROBABILITIES,
        folded=folded,
    )


def destinations(pairs: Wires, entangling_gate: str, n_qubits: int) -> Tensor:
    """Find where an entangler sends each basis state, up to the sign.

        E |i> = +-|destination_i>

    Args:
        pairs: wire pairs (control, target) in the order in which their gates act.
        entangling_gate: "CNOT" or "CZ".
        n_qubits: number of wires.

    Returns:
        Permutation of 0, ..., 2**n - 1, int64 on the CPU, shape (2**n,).

    Example:
        >>> destinations(((0, 1), (1, 0)), "CNOT", 2)
        tensor([0, 3, 1, 2])
    """
    states = torch.arange(2**n_qubits, device="cpu")
    for control, target in pairs if entangling_gate == "CNOT" else ():
        states = cnot(states, control, target, n_qubits)
    return states


def sources(pairs: Wires, entangling_gate: str, n_qubits: int) -> Tensor:
    """Find which amplitude an entangler brings to each basis state, the inverse of `destinations`.

    Args:
        pairs: wire pairs (control, target) in the order in which their gates act.
        entangling_gate: "CNOT" or "CZ".
        n_qubits: number of wires.

    Returns:
        Permutation of 0, ..., 2**n - 1, int64 on the CPU, shape (2**n,).
    """
    return torch.argsort(destinations(pairs, entangling_gate, n_qubits))


def signs(pairs: Wires, entangling_gate: str, n_qubits: int) -> Tensor:
    """Find the sign that an entangler gives to each amplitude: -1 for each CZ whose wires are both 1.

    Args:
        pairs: wire pairs.
        entangling_gate: "CNOT" or "CZ".
        n_qubits: number of wires.

    Returns:
        +1 or -1, int64 on the CPU, shape (2**n,).

    Example:
        >>> signs(((0, 1),), "CZ", 2)
        tensor([ 1,  1,  1, -1])
    """
    states = torch.arange(2**n_qubits, device="cpu")
    sign = torch.ones_like(states)
    for first, second in pairs if entangling_gate == "CZ" else ():
        both = (states >> (n_qubits - 1 - first)) & (states >> (n_qubits - 1 - second)) & 1
        sign = sign * (1 - 2 * both)
    return sign


def block_parameters(angles: Tensor, circuit: Circuit) -> Tensor:
    """Bring the angles of a circuit into the form in which its program takes them.

    Args:
        angles: radians, compute dtype, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.

    Returns:
        For a real circuit the angle of each block's RY on each wire, shape (circuits, blocks, n_qubits);
        otherwise each block's unitary on each wire, complex, shape (circuits, blocks, n_qubits, 2, 2).
    """
    program = program_of(circuit)
    if program.is_real:
        if circuit.ansatz.rotations == 1:
            return angles.select(2, 0)
        sums = [sum(angles[:, layer, row] for layer, row in rows) for rows in program.rows]
        return torch.stack(sums, dim=1)  # type: ignore[arg-type]
    gates = circuit.ansatz.gates
    matrices = [as_complex(gate.matrix(angles[:, :, row])) for row, gate in enumerate(gates)]
    products = [
        reduce(lambda first, second: second @ first, [matrices[row][:, layer] for layer, row in rows])
        for rows in program.rows
    ]
    return torch.stack(products, dim=1)
