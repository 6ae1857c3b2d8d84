"""Noisy circuits exactly, by their density matrices."""

import torch
from torch import Tensor

from amplitune.quantum.bases import TURNS, bases_of
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.constants import constant
from amplitune.quantum.gates import as_complex, kron
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.preparation import ancillas, prepared
from amplitune.quantum.program import program_of, signs, sources

# While a circuit runs, its density matrix is a vector whose index has one digit 0 to 3 for each wire, wire 0
# first: twice the wire's bit of the row plus its bit of the column. A channel on a wire is then one product
# with a 4 x 4 matrix over a middle dimension, with nothing to transpose.


def interleaved(wires: int) -> Tensor:
    """Find where each entry of a density matrix stands in the vector with one digit for each wire.

    Args:
        wires: number of wires.

    Returns:
        Permutation of 0, ..., 4**wires - 1, int64 on the CPU, shape (2**wires, 2**wires).

    Example:
        >>> interleaved(2)[2]
        tensor([ 8,  9, 12, 13])
    """
    states = torch.arange(2**wires, device="cpu")
    spread = sum(((states >> bit) & 1) << 2 * bit for bit in range(wires))
    return 2 * spread[:, None] + spread  # type: ignore[index]


def _entangler_sources(pair: tuple[int, int], entangling_gate: str, wires: int) -> Tensor:
    """Which entry of a density matrix a CNOT brings to each place, with digits as above."""
    place, source = interleaved(wires), sources((pair,), entangling_gate, wires)
    found = torch.empty(4**wires, dtype=torch.int64, device="cpu")
    found[place] = place[source][:, source]
    return found


def _entangler_signs(pair: tuple[int, int], entangling_gate: str, wires: int) -> Tensor:
    """The sign that a CZ gives to each entry of a density matrix, with digits as above."""
    sign = signs((pair,), entangling_gate, wires)
    found = torch.empty(4**wires, dtype=torch.int64, device="cpu")
    found[interleaved(wires)] = sign[:, None] * sign
    return found


def density_matrix(rows: Tensor, angles: Tensor, circuit: Circuit, noise: NoiseModel) -> Tensor:
    """Run circuits with noise on their density matrices.

        rho -> sum_k K_k G rho G^+ K_k^+    after each gate G

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64 as the result, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        noise: its noise; the error of the measurement is not applied here.

    Returns:
        Shape (circuits, 2**wires, 2**wires, tokens), wires with the ancilla; real if the circuit is real.
        Zeros for a row of zeros.

    Example:
        >>> rows, angles = torch.tensor([[1.0, 0.0]]), torch.zeros(Circuit(1).angle_shape())
        >>> density_matrix(rows, angles, Circuit(1), NoiseModel(bit_flip=0.1))[0, :, :, 0]
        tensor([[0.9000, 0.0000],
                [0.0000, 0.1000]])
    """
    return _matrix(_evolved(rows, angles, circuit, noise))


def density_distribution(rows: Tensor, angles: Tensor, circuit: Circuit, noise: NoiseModel) -> Tensor:
    """Give the probabilities of the outcomes of noisy circuits exactly.

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64 as the result, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        noise: its noise; the error of the measurement is not applied here.

    Returns:
        Shape (tokens, circuits, bases, 2**wires).
    """
    rho = _evolved(rows, angles, circuit, noise)
    parts = []
    for basis in bases_of(circuit):
        turned = as_complex(rho) if "Y" in basis.letters else rho
        for wire, letter in enumerate(basis.letters):
            if letter != "Z":
                turn = torch.tensor(TURNS[letter], dtype=turned.dtype, device=rho.device)
                turned = _on_wire(turned, kron([turn, turn.conj()])[None] / 2, wire)
        parts.append(turned.index_select(1, _places(rho).diagonal()).real)
    return torch.stack(parts, dim=2).permute(3, 0, 2, 1)


def _evolved(rows: Tensor, angles: Tensor, circuit: Circuit, noise: NoiseModel) -> Tensor:
    """The density matrix after all gates as a vector, shape (circuits, 4**wires, tokens)."""
    program, first = program_of(circuit), ancillas(circuit)
    wires, gates = circuit.n_qubits + first, circuit.ansatz.gates
    channel = noise.superoperator().to(angles.device, angles.dtype)
    if not circuit.is_real:
        channel = as_complex(channel)
    start = prepared(rows, circuit, angles.dtype).to(channel.dtype).T
    place = constant(interleaved, wires, device=rows.device, dtype=torch.int64)
    outer = torch.empty(4**wires, rows.shape[0], dtype=channel.dtype, device=rows.device)
    outer[place] = start[:, None] * start
    rho = outer.expand(angles.shape[0], -1, -1)
    for block, after in zip(program.rows, (*program.between, "E" * program.folded), strict=True):
        for wire in range(circuit.n_qubits):
            whole = torch.eye(4, dtype=channel.dtype, device=channel.device)
            for layer, row in block:
                gate = gates[row].matrix(angles[:, layer, row, wire]).to(channel.dtype)
                whole = channel @ kron([gate, gate.conj()]) @ whole
            rho = _on_wire(rho, whole, first + wire)
        for step in after:
            if step == "V":
                rho = _reflected(rho, start)
                continue
            for pair in program.pairs:
                shifted = (first + pair[0], first + pair[1])
                rho = _entangled(rho, shifted, program.entangling_gate, wires)
                for wire in shifted:
                    rho = _on_wire(rho, channel[None], wire)
    return rho


def _places(rho: Tensor) -> Tensor:
    """Where the entries of the matrix stand in the vector, shape (2**wires, 2**wires)."""
    wires = (rho.shape[1].bit_length() - 1) // 2
    return constant(interleaved, wires, device=rho.device, dtype=torch.int64)


def _matrix(rho: Tensor) -> Tensor:
    """The vector as a matrix, shape (circuits, 2**wires, 2**wires, tokens)."""
    place = _places(rho)
    return rho.index_select(1, place.flatten()).unflatten(1, place.shape)


def _on_wire(rho: Tensor, superoperator: Tensor, wire: int) -> Tensor:
    """Apply a matrix (circuits or 1, 4, 4) to the digit of a wire."""
    circuits, size, tokens = rho.shape
    split = rho.reshape(circuits, 4**wire, 4, (size >> 2 * (wire + 1)) * tokens)
    return (superoperator[:, None] @ split).reshape(rho.shape)


def _entangled(rho: Tensor, pair: tuple[int, int], entangling_gate: str, wires: int) -> Tensor:
    """Run one gate of the entangler."""
    arguments = (pair, entangling_gate, wires)
    if entangling_gate == "CZ":
        return rho * constant(_entangler_signs, *arguments, device=rho.device, dtype=rho.real.dtype)[:, None]
    source = constant(_entangler_sources, *arguments, device=rho.device, dtype=torch.int64)
    return rho.index_select(1, source)


def _reflected(rho: Tensor, amplitudes: Tensor) -> Tensor:
    """Reflect about the encoded input, V rho V with V = I - 2 |a><a|; amplitudes (2**n, tokens)."""
    matrix = _matrix(rho)
    matrix = matrix - 2 * amplitudes[:, None] * (amplitudes[:, None] * matrix).sum(dim=1, keepdim=True)
    matrix = matrix - 2 * amplitudes * (amplitudes * matrix).sum(dim=2, keepdim=True)
    return matrix.flatten(1, 2).index_select(1, torch.argsort(_places(rho).flatten()))
