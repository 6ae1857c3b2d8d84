"""The steps of a program on a batch of states with the tokens last: rotate, entangle, reflect."""

import torch
from torch import Tensor

from amplitune.quantum.constants import constant
from amplitune.quantum.gates import kron, ry
from amplitune.quantum.program import Program, destinations, signs, sources


def rotation_factors(parameters: Tensor, program: Program) -> tuple[Tensor, Tensor]:
    """Write each block of rotations as a Kronecker product of two matrices.

        B_j = major_j (x) minor_j,   P = 2**floor(n/2), Q = 2**ceil(n/2)

    Args:
        parameters: as `block_parameters` gives them.
        program: the program.

    Returns:
        major, on the most significant wires, shape (circuits, blocks, P, P), and
        minor, on the others, shape (circuits, blocks, Q, Q); real or complex as the program is.
    """
    matrices = ry(parameters) if program.is_real else parameters
    wires = list(matrices.unbind(dim=2))
    # Measured forward and backward on one CPU core, 1024 tokens, n = 10, 11, 12, depth 1 and 2: the times of
    # splits from n // 2 - 2 to n // 2 + 2 differ by no more than the noise. The even one has the least work.
    split = program.n_qubits // 2
    identity = torch.ones_like(wires[0][..., :1, :1])
    return kron([identity, *wires[:split]]), kron(wires[split:])


def first_rotation(amplitudes: Tensor, major: Tensor, minor: Tensor) -> Tensor:
    """Run the first block on rows that stand one after another and may end before the last amplitude.

    Args:
        amplitudes: shape (tokens, width), width a multiple of Q; what is missing up to 2**n is zero.
        major: the block's factor, shape (circuits, P, P).
        minor: its other factor, shape (circuits, Q, Q).

    Returns:
        Amplitudes, shape (circuits, 2**n, tokens).
    """
    circuits, q, _ = minor.shape
    tokens, width = amplitudes.shape
    # The amplitudes after these blocks are zeros: never written, and skipped by the major factor.
    blocks = width // q
    state = amplitudes.reshape(tokens, blocks, q).permute(1, 2, 0)
    state = torch.bmm(minor.reshape(circuits * q, q).expand(blocks, -1, -1), state)
    state = state.reshape(blocks, circuits, q * tokens).transpose(0, 1)
    return torch.bmm(major[:, :, :blocks], state).reshape(circuits, major.shape[1] * q, tokens)


def rotate(state: Tensor, major: Tensor, minor: Tensor) -> Tensor:
    """Run a block of rotations.

    Args:
        state: amplitudes, shape (circuits, 2**n, tokens).
        major: the block's factor, shape (circuits, P, P).
        minor: its other factor, shape (circuits, Q, Q).

    Returns:
        Amplitudes, same shape.
    """
    (circuits, p, _), q, tokens = major.shape, minor.shape[-1], state.shape[-1]
    factors = minor[:, None].expand(circuits, p, q, q).reshape(circuits * p, q, q)
    state = torch.bmm(factors, state.reshape(circuits * p, q, tokens))
    return torch.bmm(major, state.reshape(circuits, p, q * tokens)).reshape(circuits, p * q, tokens)


def entangle(state: Tensor, program: Program, inverse: bool = False) -> Tensor:
    """Run the entangler: CNOT gates permute basis states, CZ gates change signs; all of them are one step.

    Args:
        state: amplitudes, shape (circuits, 2**n, tokens).
        program: the program.
        inverse: whether to undo it.

    Returns:
        Amplitudes, same shape.
    """
    if not program.pairs:
        return state
    arguments = (program.pairs, program.entangling_gate, program.n_qubits)
    if program.entangling_gate == "CZ":
        dtype = state.real.dtype if state.is_complex() else state.dtype
        return state * constant(signs, *arguments, device=state.device, dtype=dtype)[:, None]
    build = destinations if inverse else sources
    return state.index_select(1, constant(build, *arguments, device=state.device, dtype=torch.int64))


def reflect(state: Tensor, amplitudes: Tensor) -> Tensor:
    """Reflect about the encoded input, its own inverse.

        V psi = psi - 2 a <a|psi> / <a|a>

    Args:
        state: amplitudes, shape (circuits, 2**n, tokens).
        amplitudes: a, not normalised, of the dtype of `state`, shape (2**n, tokens).

    Returns:
        Amplitudes, same shape.
    """
    squared = (amplitudes * amplitudes).sum(dim=0)
    overlap = (amplitudes * state).sum(dim=1, keepdim=True)
    return state - 2 * amplitudes * (overlap / torch.where(squared == 0, 1, squared))
