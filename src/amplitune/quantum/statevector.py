"""Exact statevector evolution of a batch of amplitude-encoded inputs, differentiable by autograd."""

import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import check_features, encode, flattened
from amplitune.quantum.layers import entangle, first_rotation, reflect, rotate, rotation_factors
from amplitune.quantum.precision import compute_dtype, full_precision
from amplitune.quantum.preparation import normalized
from amplitune.quantum.program import Program, block_parameters, program_of


def check_arguments(x: Tensor, angles: Tensor, circuit: Circuit) -> None:
    """Refuse arguments that do not fit each other.

    Args:
        x: real, shape (..., features).
        angles: radians, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.

    Raises:
        ConfigError: see `check_features` and `Circuit.check_angles`; or `x` and `angles` are on two devices.
    """
    check_features(x, circuit.n_qubits)
    circuit.check_angles(angles)
    if x.device != angles.device:
        raise ConfigError(
            f"`angles` must be on the device of `x`, {x.device}, but are on {angles.device}. "
            "Move them with angles.to(x.device)."
        )


def encoded_columns(amplitudes: Tensor, program: Program, dtype: torch.dtype) -> Tensor:
    """Give the encoded input in the layout of states, with all its zeros.

    Args:
        amplitudes: shape (tokens, width).
        program: the program.
        dtype: the states' dtype.

    Returns:
        Shape (2**n, tokens).
    """
    missing = 2**program.n_qubits - amplitudes.shape[-1]
    return torch.nn.functional.pad(amplitudes, (0, missing)).to(dtype).T


def evolve(x: Tensor, parameters: Tensor, program: Program) -> Tensor:
    """Run a program up to its last block of rotations: no entangler after it, no normalisation.

        psi = scale * B_last ... between_0 B_0 pad(x)

    The tokens are the last dimension, so that a block of rotations is two batches of large matrix products
    that read their input in place, and a permutation of amplitudes moves whole rows of tokens.

    Args:
        x: real, shape (tokens, features).
        parameters: as `block_parameters` gives them.
        program: the program.

    Returns:
        Amplitudes, each token's with a positive factor of its own, shape (circuits, 2**n, tokens); real if
        the program is real.
    """
    major, minor = rotation_factors(parameters, program)
    encoded = encode(x, compute_dtype(x, parameters), multiple=minor.shape[-1])
    state = first_rotation(encoded.to(minor.dtype), major[:, 0], minor[:, 0])
    for block, steps in enumerate(program.between, start=1):
        for step in steps:
            if step == "E":
                state = entangle(state, program)
            else:
                state = reflect(state, encoded_columns(encoded, program, state.dtype))
        state = rotate(state, major[:, block], minor[:, block])
    return state


def statevector(x: Tensor, angles: Tensor, circuit: Circuit) -> Tensor:
    """Run circuits on amplitude-encoded rows and return their final states.

        psi = U(theta) pad(x) / ||x||_2

    Args:
        x: real, shape (..., features), any float dtype; features at most 2**n. Wire 0 is the most significant
            bit of the amplitude's index.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits); all circuits share the input.
        circuit: the circuit; its readout is not used.

    Returns:
        States of norm 1, shape (..., circuits, 2**n): real if `circuit.is_real`, otherwise complex; double
        precision if `x` or `angles` is float64, otherwise single. A row of zeros has no state and gives zeros
        with zero gradient; a NaN makes its own row NaN.

    Raises:
        ConfigError: an argument has a wrong dtype or shape, or `x` has more features than amplitudes.

    Source:
        arXiv 2509.16244 (QAA); order of wires as PennyLane's AmplitudeEmbedding(pad_with=0, normalize=True).

    Example:
        >>> from amplitune.quantum import Ansatz
        >>> circuit = Circuit(n_qubits=2, ansatz=Ansatz("RY", "ring", depth=1))
        >>> statevector(torch.tensor([0.0, 3.0, 4.0]), torch.zeros(circuit.angle_shape()), circuit)
        tensor([[0.0000, 0.8000, 0.0000, 0.6000]])
    """
    check_arguments(x, angles, circuit)
    program = program_of(circuit)
    rows = flattened(x)
    with full_precision(x.device):
        state = evolve(rows, block_parameters(angles.to(compute_dtype(x, angles)), circuit), program)
        if program.folded:
            state = entangle(state, program)
        state = normalized(state, dim=1)
    return state.permute(2, 0, 1).reshape(*x.shape[:-1], angles.shape[0], 2**circuit.n_qubits)
