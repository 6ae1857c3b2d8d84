"""The torch kernel, the reference: a backward pass that runs the program in reverse and keeps no state."""

import torch
from torch import Tensor

from amplitune.quantum.encoding import encode, power_of_two_scale
from amplitune.quantum.gates import dagger
from amplitune.quantum.layers import entangle, reflect, rotate, rotation_factors
from amplitune.quantum.measurement import apply_weighted, measure
from amplitune.quantum.precision import compute_dtype
from amplitune.quantum.program import Program
from amplitune.quantum.statevector import encoded_columns, evolve

#: Amplitudes of one pass; tokens beyond them wait for the next pass, so that scratch memory stays bounded. On
#: a CPU a pass stays in cache: forward and backward of 2,048 tokens at n = 11 took 84, 88, 97, 121 ms of one
#: core with 2**18, 2**19, 2**20, 2**22 amplitudes (RY), and 164, 171, 206, 375 ms (Rot). A GPU wants many.
PASS_ON_CPU, PASS = 2**19, 2**25


def values(x: Tensor, parameters: Tensor, program: Program) -> Tensor:
    """Compute a program's readouts with operations that autograd differentiates, to any order.

        z_k = <psi|P_k|psi> / <psi|psi>

    Args:
        x: real, shape (tokens, features).
        parameters: as `block_parameters` gives them.
        program: the program.

    Returns:
        Shape (tokens, circuits * m), in the compute dtype; zeros for a row of zeros.
    """
    sums, squared = measure(evolve(x, parameters, program), program)
    z = sums / torch.where(squared == 0, 1, squared)
    return z.permute(2, 0, 1).flatten(1)


def forward(x: Tensor, parameters: Tensor, program: Program) -> Tensor:
    """Compute a program's readouts, pass by pass.

    Args:
        x: real, shape (tokens, features).
        parameters: as `block_parameters` gives them.
        program: the program.

    Returns:
        Shape (tokens, circuits * m), in the compute dtype.
    """
    return torch.cat([values(rows, parameters, program) for rows in x.split(_tokens(parameters, program))])


def backward(
    grad_z: Tensor, x: Tensor, parameters: Tensor, program: Program, needs_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Recompute a program's states and take gradients while undoing its steps.

    With lambda = dL/dpsi after block j: the block's unitary B on a wire has the gradient R B with
    R_ab = sum lambda_a conj(psi_b) over all tokens and the other wires; an RY has 1/2 (R_10 - R_01).
    Rotations on different wires commute, so the states after the whole block are enough.

    Args:
        grad_z: dL/dz, shape (tokens, circuits * m), in the compute dtype.
        x: real, shape (tokens, features).
        parameters: as `block_parameters` gives them.
        program: the program.
        needs_x: whether dL/dx is wanted.

    Returns:
        dL/dx in the dtype of `x`, or None; dL/dparameters; and z once more, which nobody has to keep.
    """
    size = _tokens(parameters, program)
    passes = [
        _backward(grads, rows, parameters, program, needs_x)
        for grads, rows in zip(grad_z.split(size), x.split(size), strict=True)
    ]
    return (
        torch.cat([dx for dx, _, _ in passes if dx is not None]) if needs_x else None,
        torch.stack([dparameters for _, dparameters, _ in passes]).sum(dim=0),
        torch.cat([z for _, _, z in passes]),
    )


def _backward(
    grad_z: Tensor, x: Tensor, parameters: Tensor, program: Program, needs_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """`backward` for one pass."""
    tokens, features = x.shape
    circuits, dtype = parameters.shape[0], compute_dtype(x, parameters)
    major, minor = rotation_factors(parameters, program)
    state = evolve(x, parameters, program)
    sums, squared = measure(state, program)
    # A row of zeros has a state of zeros, so whatever stands beside it becomes zero.
    squared = torch.where(squared == 0, 1, squared)
    z = sums / squared
    weights = grad_z.reshape(tokens, circuits, program.n_observables).permute(1, 2, 0)
    mean = (weights * z).sum(dim=1, keepdim=True)
    # The gradient by a state, dL/dRe + i dL/dIm.
    adjoint = (2 / squared) * (apply_weighted(state, program, weights) - mean * state)
    reflects = any("V" in steps for steps in program.between)
    encoded = encoded_columns(encode(x, dtype), program, state.dtype) if reflects else state
    dencoded = None
    gradients = []
    for block in reversed(range(program.blocks)):
        gradients.append(_block_gradient(adjoint, state, parameters[:, block], program))
        undo = dagger(major[:, block]), dagger(minor[:, block])
        if block == 0:
            break
        state, adjoint = rotate(state, *undo), rotate(adjoint, *undo)
        for step in reversed(program.between[block - 1]):
            if step == "E":
                state, adjoint = entangle(state, program, True), entangle(adjoint, program, True)
            else:
                state = reflect(state, encoded)
                term = _reflection_gradient(adjoint, state, encoded)
                dencoded = term if dencoded is None else dencoded + term
                adjoint = reflect(adjoint, encoded)
    dparameters = torch.stack(gradients[::-1], dim=1)
    dx = None
    if needs_x:
        columns = _first_rotation_undone(adjoint, *undo, features)
        columns = columns.real if columns.is_complex() else columns
        if dencoded is not None:
            columns = columns + dencoded[:features]
        dx = (columns.T * power_of_two_scale(x, dtype)).to(x.dtype)
    return dx, dparameters, z.permute(2, 0, 1).flatten(1)


def _tokens(parameters: Tensor, program: Program) -> int:
    """The tokens of one pass."""
    amplitudes = PASS_ON_CPU if parameters.device.type == "cpu" else PASS
    return max(1, amplitudes // (parameters.shape[0] * 2**program.n_qubits))


def _block_gradient(adjoint: Tensor, state: Tensor, parameters: Tensor, program: Program) -> Tensor:
    """dL/dparameters of one block, from the states just after it."""
    circuits, _, tokens = state.shape
    n = program.n_qubits
    p, q = 2 ** (n // 2), 2 ** (n - n // 2)
    # The products lambda psi^+ summed over all else, first per half of the wires, then per wire.
    on_major = adjoint.reshape(circuits, p, q * tokens) @ dagger(state.reshape(circuits, p, q * tokens))
    on_minor = adjoint.reshape(circuits, p, q, tokens) @ dagger(state.reshape(circuits, p, q, tokens))
    halves = ((n // 2, on_major), (n - n // 2, on_minor.sum(dim=1)))
    wires = []
    for count, products in halves:
        for wire in range(count):
            above, below = 2**wire, 2 ** (count - 1 - wire)
            split = products.reshape(circuits, above, 2, below, above, 2, below)
            wires.append(torch.einsum("cuivujv->cij", split))
    each = torch.stack(wires, dim=1)
    if program.is_real:
        return (each[:, :, 1, 0] - each[:, :, 0, 1]) / 2
    return each @ parameters


def _reflection_gradient(adjoint: Tensor, state: Tensor, encoded: Tensor) -> Tensor:
    """dL/da through the reflection V, summed over circuits; `state` stands before V, `adjoint` after it."""
    a = encoded.real if encoded.is_complex() else encoded
    squared = (a * a).sum(dim=0)
    squared = torch.where(squared == 0, 1, squared)
    overlap = (encoded * state).sum(dim=1, keepdim=True) / squared
    conjugate = adjoint.conj_physical()
    along = (encoded * conjugate).sum(dim=1, keepdim=True)
    gradient = (
        -2 * conjugate * overlap - 2 * along / squared * state + 4 * along * overlap / squared * encoded
    )
    return (gradient.real if gradient.is_complex() else gradient).sum(dim=0)


def _first_rotation_undone(adjoint: Tensor, major: Tensor, minor: Tensor, features: int) -> Tensor:
    """Carry an adjoint back to the encoded input, summed over circuits: shape (features, tokens)."""
    (circuits, q, _), tokens = minor.shape, adjoint.shape[-1]
    blocks = -(-features // q)
    state = torch.bmm(major[:, :blocks], adjoint.reshape(circuits, major.shape[1], q * tokens))
    state = state.reshape(circuits, blocks, q, tokens).transpose(0, 1).reshape(blocks, circuits * q, tokens)
    side_by_side = minor.transpose(0, 1).reshape(q, circuits * q)
    return torch.bmm(side_by_side.expand(blocks, -1, -1), state).reshape(blocks * q, tokens)[:features]
