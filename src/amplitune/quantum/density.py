"""Noisy circuits exactly, by their density matrices."""

import torch
from torch import Tensor

from amplitune.quantum.bases import bases_of, into_basis, needs_complex
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.gates import as_complex, kron
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.preparation import ancillas, prepared
from amplitune.quantum.program import program_of, signs, sources


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
    program, first = program_of(circuit), ancillas(circuit)
    wires, gates = circuit.n_qubits + first, circuit.ansatz.gates
    channel = noise.superoperator().to(angles.device, angles.dtype)
    if not circuit.is_real:
        channel = as_complex(channel)
    start = prepared(rows, circuit, angles.dtype).to(channel.dtype).T
    rho = (start[:, None] * start[None, :]).expand(angles.shape[0], -1, -1, -1)
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
                    rho = _on_wire(rho, channel.expand(angles.shape[0], 4, 4), wire)
    return rho


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
    rho = density_matrix(rows, angles, circuit, noise)
    if needs_complex(circuit):
        rho = as_complex(rho)
    circuits, size, _, tokens = rho.shape
    parts = []
    for basis in bases_of(circuit):
        # B rho B^+: B on the columns of rho, then on those of its adjoint.
        once = into_basis(rho.reshape(circuits, size, size * tokens), basis).reshape(rho.shape)
        adjoint = once.transpose(1, 2).conj().reshape(circuits, size, size * tokens)
        parts.append(into_basis(adjoint, basis).reshape(rho.shape).diagonal(dim1=1, dim2=2).real)
    return torch.stack(parts, dim=2).transpose(0, 1)


def _on_wire(rho: Tensor, superoperator: Tensor, wire: int) -> Tensor:
    """Apply a matrix (circuits, 4, 4) to the entries 00, 01, 10, 11 of a wire."""
    circuits, size, _, tokens = rho.shape
    side = (2**wire, 2, size >> (wire + 1))
    split = rho.reshape(circuits, *side, *side, tokens)
    matrix = superoperator.reshape(circuits, 2, 2, 2, 2)
    return torch.einsum("cabij,cxiyujvt->cxayubvt", matrix, split).reshape(rho.shape)


def _entangled(rho: Tensor, pair: tuple[int, int], entangling_gate: str, wires: int) -> Tensor:
    """Run one gate of the entangler."""
    if entangling_gate == "CZ":
        sign = signs((pair,), entangling_gate, wires).to(rho.device, rho.real.dtype)
        return rho * (sign[:, None] * sign)[..., None]
    source = sources((pair,), entangling_gate, wires).to(rho.device)
    return rho.index_select(1, source).index_select(2, source)


def _reflected(rho: Tensor, amplitudes: Tensor) -> Tensor:
    """Reflect about the encoded input, V rho V with V = I - 2 |a><a|; amplitudes (2**n, tokens)."""
    rho = rho - 2 * amplitudes[:, None] * (amplitudes[:, None] * rho).sum(dim=1, keepdim=True)
    return rho - 2 * amplitudes * (amplitudes * rho).sum(dim=2, keepdim=True)
