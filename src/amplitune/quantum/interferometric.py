"""The interferometric readout: X on an ancilla beside Z on each wire, which is linear in the input."""

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.gates import dagger
from amplitune.quantum.layers import entangle, rotate, rotation_factors
from amplitune.quantum.measurement import apply_weighted
from amplitune.quantum.preparation import normalized
from amplitune.quantum.program import block_parameters, program_of
from amplitune.quantum.statevector import evolve


def functionals(angles: Tensor, circuit: Circuit) -> Tensor:
    """Find the linear functionals of the input that the interferometric readout measures.

        Phi = (|0>|a> + |1>|r>) / sqrt(2),   r = (1, ..., 1) / sqrt(2**n)
        <X (x) Z_k> after U on the wires = Re <U r| Z_k |U a> = sum_i f_ki a_i,   f_k = Re(U^+ Z_k U r)

    They depend on the angles alone, so the circuit runs once, not once for each token.

    Args:
        angles: radians, compute dtype, shape (circuits, depth, rotations, n_qubits).
        circuit: a circuit with the interferometric readout.

    Returns:
        f, real, shape (circuits * m, 2**n).
    """
    program = program_of(circuit)
    parameters = block_parameters(angles, circuit)
    size, m = 2**circuit.n_qubits, program.n_observables
    reference = torch.full((1, size), size**-0.5, dtype=angles.dtype, device=angles.device)
    state = evolve(reference, parameters, program)
    # evolve leaves each row with a power of two of its own.
    state = normalized(state, dim=1)
    one_each = torch.eye(m, dtype=angles.dtype, device=angles.device).expand(angles.shape[0], -1, -1)
    state = apply_weighted(state.expand(-1, -1, m), program, one_each)
    major, minor = rotation_factors(parameters, program)
    for block in reversed(range(major.shape[1])):
        state = rotate(state, dagger(major[:, block]), dagger(minor[:, block]))
        if block:
            state = entangle(state, program, inverse=True)
    rows = state.transpose(1, 2).reshape(-1, size)
    # Contiguous, as the operators' gradients by them are: compiled code takes both for laid out alike.
    return (rows.real if rows.is_complex() else rows).contiguous()
