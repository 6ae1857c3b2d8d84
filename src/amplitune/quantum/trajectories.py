"""Noisy circuits by quantum trajectories: each error happens or not, by chance, and the state stays pure."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from amplitune.quantum.bases import outcome_probabilities
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.kernels.reference import PASS
from amplitune.quantum.layers import reflect
from amplitune.quantum.measurement import squared_magnitude
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.preparation import ancillas, prepared
from amplitune.quantum.program import program_of, signs, sources

#: I, X, iY and Z: the phase of a whole trajectory means nothing, and with i Y a real state stays real.
PAULIS = (((1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, 1), (-1, 0)), ((1, 0), (0, -1)))


def trajectory_states(
    rows: Tensor,
    angles: Tensor,
    circuit: Circuit,
    noise: NoiseModel,
    trajectories: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Run circuits with random errors on pure states.

        psi -> K_k G psi / ||K_k G psi||   with probability ||K_k G psi||^2,   mean of |psi><psi| = rho

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64 as the result, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        noise: its noise; the error of the measurement is not applied here.
        trajectories: runs of each token and circuit, all with errors of their own.
        generator: source of the errors, on the device of `rows`; None for torch's default one.

    Returns:
        States of norm 1, shape (circuits, 2**wires, tokens * trajectories), the trajectories of the first
        token first; wires with the ancilla; real if the circuit is real. Zeros for a row of zeros.

    Source:
        Moelmer, Castin and Dalibard, J. Opt. Soc. Am. B 10, 524 (1993).
    """
    program, first = program_of(circuit), ancillas(circuit)
    wires, gates = circuit.n_qubits + first, circuit.ansatz.gates
    dtype = angles.dtype if circuit.is_real else angles.dtype.to_complex()
    start = prepared(rows, circuit, angles.dtype).to(dtype).repeat_interleave(trajectories, dim=0).T
    state = start.expand(angles.shape[0], -1, -1)
    no_gate = torch.eye(2, dtype=dtype, device=rows.device)
    for block, after in zip(program.rows, (*program.between, "E" * program.folded), strict=True):
        for wire in range(circuit.n_qubits):
            turns = [gates[row].matrix(angles[:, layer, row, wire]).to(dtype) for layer, row in block]
            state = _on_wire(state, turns, first + wire, noise, generator)
        for step in after:
            if step == "V":
                state = reflect(state, start)
                continue
            for pair in program.pairs:
                shifted = (first + pair[0], first + pair[1])
                state = _entangled(state, shifted, program.entangling_gate, wires)
                for wire in shifted:
                    state = _on_wire(state, [no_gate[None]], wire, noise, generator)
    return state


def trajectory_distributions(
    rows: Tensor,
    angles: Tensor,
    circuit: Circuit,
    noise: NoiseModel,
    trajectories: int,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Give the probabilities of the outcomes of each trajectory, in parts that fit into memory.

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64 as the result, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        noise: its noise; the error of the measurement is not applied here.
        trajectories: runs of each token and circuit in all parts together.
        generator: source of the errors, on the device of `rows`; None for torch's default one.

    Yields:
        Shape (tokens, circuits, runs, bases, 2**wires), some of the trajectories of all tokens.
    """
    size = 2 ** (circuit.n_qubits + ancillas(circuit))
    at_once = max(1, PASS // max(1, size * angles.shape[0] * rows.shape[0]))
    for begin in range(0, trajectories, at_once):
        runs = min(at_once, trajectories - begin)
        state = trajectory_states(rows, angles, circuit, noise, runs, generator)
        together = outcome_probabilities(state, circuit).unflatten(-1, (rows.shape[0], runs))
        yield together.permute(3, 1, 4, 0, 2)


def _on_wire(
    state: Tensor, turns: Sequence[Tensor], wire: int, noise: NoiseModel, generator: torch.Generator | None
) -> Tensor:
    """Run gates (circuits or 1, 2, 2) on one wire, each followed by random errors in each column."""
    circuits, size, columns = state.shape
    zero, one = state.reshape(circuits, 2**wire, 2, size >> (wire + 1), columns).unbind(dim=2)
    real = state.real.dtype
    whole = torch.eye(2, dtype=state.dtype, device=state.device).expand(circuits, columns, 2, 2)
    errors = torch.tensor(PAULIS, dtype=state.dtype, device=state.device)
    # Counting the thresholds below a number from [0, 1) picks a matrix with its probability.
    probabilities = torch.tensor(noise.pauli_probabilities[:3], dtype=torch.float64, device=state.device)
    thresholds = probabilities.cumsum(0)
    damping = noise.amplitude_damping
    if damping:
        # All that the jumps need of the state: the wire's density matrix, before the gates.
        both = (zero * one.conj()).sum(dim=(1, 2))
        populations = [squared_magnitude(half).sum(dim=(1, 2)) for half in (zero, one)]
        reduced = torch.stack((populations[0], both, both.conj(), populations[1]), dim=-1)
        reduced = reduced.unflatten(-1, (2, 2))

    def chance() -> Tensor:
        return torch.rand(circuits, columns, generator=generator, dtype=torch.float64, device=state.device)

    for turn in turns:
        whole = turn[:, None] @ whole
        if noise.pauli_probabilities[0] < 1:
            whole = errors[(chance()[..., None] >= thresholds).sum(dim=-1)] @ whole
        if damping:
            excited = (whole[..., 1:, :] @ reduced @ whole[..., 1:, :].mH)[..., 0, 0].real
            jumps = chance() < damping * excited
            kept = torch.where(jumps[..., None], whole[..., 1, :], whole[..., 0, :])
            lost = torch.where(jumps[..., None], 0, (1 - damping) ** 0.5 * whole[..., 1, :])
            squared = torch.where(jumps, excited, 1 - damping * excited)
            whole = torch.stack((kept, lost), dim=-2) / squared.sqrt()[..., None, None].to(real)
    entries = whole.permute(2, 3, 0, 1)[..., None, None, :]
    mixed = torch.empty_like(state, memory_format=torch.contiguous_format)
    halves = mixed.view(circuits, 2**wire, 2, size >> (wire + 1), columns).unbind(dim=2)
    for row, half in enumerate(halves):
        torch.mul(entries[row, 0], zero, out=half).addcmul_(entries[row, 1], one)
    return mixed


def _entangled(state: Tensor, pair: tuple[int, int], entangling_gate: str, wires: int) -> Tensor:
    """Run one gate of the entangler."""
    if entangling_gate == "CZ":
        return state * signs((pair,), entangling_gate, wires).to(state.device, state.real.dtype)[:, None]
    return state.index_select(1, sources((pair,), entangling_gate, wires).to(state.device))
