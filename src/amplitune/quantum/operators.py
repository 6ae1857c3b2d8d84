"""The operators that run a circuit, forward and backward, registered with torch.library."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import flattened, power_of_two_scale
from amplitune.quantum.interferometric import functionals
from amplitune.quantum.kernels import linear, reference
from amplitune.quantum.kernels.dispatch import choose
from amplitune.quantum.precision import compute_dtype, full_precision, without_autocast
from amplitune.quantum.program import block_parameters, program_of
from amplitune.quantum.readout import INTERFEROMETRIC

# `parameters` are those of `block_parameters`, or the functionals of an interferometric readout; `circuit` is
# a circuit's key, because an operator takes tensors, numbers and text only.


def norms(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Measure rows without overflow on the way.

    Args:
        x: shape (tokens, features).
        dtype: compute dtype.

    Returns:
        ||x||_2, shape (tokens, 1).
    """
    scale = power_of_two_scale(x, dtype)
    return torch.linalg.vector_norm(x * scale, dim=-1, keepdim=True) / scale


def operator_parameters(x: Tensor, angles: Tensor, circuit: Circuit) -> Tensor:
    """Bring angles into the form in which the operators take them.

    Args:
        x: the input, for its dtype and device.
        angles: radians, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.

    Returns:
        The parameters of each block, or the functionals of an interferometric readout.
    """
    dtype = compute_dtype(x, angles)
    with without_autocast(x.device):
        angles = angles if angles.dtype == dtype else angles.to(dtype)
        make = functionals if circuit.readout == INTERFEROMETRIC else block_parameters
        return make(angles, circuit)


def differentiable(x: Tensor, parameters: Tensor, circuit: str) -> Tensor:
    """Compute what the operator computes, by operations that autograd differentiates to any order.

    Args:
        x: real, shape (..., features).
        parameters: see above.
        circuit: the circuit's key.

    Returns:
        z, shape (..., circuits * m).
    """
    described = Circuit.from_key(circuit)
    rows = flattened(x)
    with without_autocast(x.device):
        if described.readout == INTERFEROMETRIC:
            z = linear.forward(rows, parameters, described.norm == "restore")
        else:
            z = reference.values(rows, parameters, program_of(described))
            z = z * norms(rows, z.dtype) if described.norm == "restore" else z
    return z.reshape(*x.shape[:-1], z.shape[-1])


def run(x: Tensor, parameters: Tensor, circuit: Circuit) -> Tensor:
    """Compute what the operator computes on rows, by the kernel that the rule chooses.

    Args:
        x: real, shape (tokens, features).
        parameters: see above.
        circuit: the circuit.

    Returns:
        z, shape (tokens, circuits * m).
    """
    if circuit.readout == INTERFEROMETRIC:
        with full_precision(x.device):
            return linear.forward(x, parameters, circuit.norm == "restore")
    program = program_of(circuit)
    chosen = choose(program, x)
    # The native kernel calls nothing of torch's; a single token feels the time of setting the precision.
    alone = chosen.name == "native" and circuit.norm == "drop"
    with nullcontext() if alone else full_precision(x.device):
        z = chosen.forward(x, parameters, program)
        return z * norms(x, z.dtype) if circuit.norm == "restore" else z


@torch.library.custom_op("amplitune::expectation", mutates_args=())
def expectation_op(x: Tensor, parameters: Tensor, circuit: str) -> Tensor:
    """Run a circuit: x (..., features) -> z (..., circuits * m)."""
    z = run(flattened(x), parameters, Circuit.from_key(circuit))
    return z.reshape(*x.shape[:-1], z.shape[-1])


@torch.library.custom_op("amplitune::expectation_backward", mutates_args=())
def backward_op(
    grad_z: Tensor, x: Tensor, parameters: Tensor, circuit: str, needs_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Recompute a circuit, take its gradients: dL/dx (empty unless wanted), dL/dparameters; and z again."""
    described = Circuit.from_key(circuit)
    leading = x.shape[:-1]
    x, grad_z = flattened(x), flattened(grad_z)
    with full_precision(x.device):
        if described.readout == INTERFEROMETRIC:
            keeps = described.norm == "restore"
            dx, dparameters, z = linear.backward(grad_z, x, parameters, keeps, needs_x)
        else:
            program = program_of(described)
            chosen = choose(program, x)
            if described.norm == "restore":
                norm = norms(x, grad_z.dtype)
                dx, dparameters, z = chosen.backward(grad_z * norm, x, parameters, program, needs_x)
                if dx is not None:
                    # Not x / norm^2: the square leaves float32 where the norm is above 2e19 or below 3e-23.
                    scaled = x * power_of_two_scale(x, norm.dtype)
                    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
                    radial = (grad_z * z).sum(-1, keepdim=True) / torch.where(length == 0, 1, length)
                    dx.add_(scaled.mul_(radial))
                z = z * norm
            else:
                dx, dparameters, z = chosen.backward(grad_z, x, parameters, program, needs_x)
    # Not `reshape`: autograd adds a gradient in place only to one that it does not know as a view.
    dx = x.new_empty(0) if dx is None else torch.ops.aten._unsafe_view(dx, (*leading, dx.shape[-1]))
    return dx, dparameters, z.reshape(*leading, z.shape[-1])


@expectation_op.register_fake
def _(x: Tensor, parameters: Tensor, circuit: str) -> Tensor:
    return _fake_values(x, parameters, circuit)


@backward_op.register_fake
def _(
    grad_z: Tensor, x: Tensor, parameters: Tensor, circuit: str, needs_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    dx = torch.empty_like(x, memory_format=torch.contiguous_format) if needs_x else x.new_empty(0)
    return dx, torch.empty_like(parameters), _fake_values(x, parameters, circuit)


def _fake_values(x: Tensor, parameters: Tensor, circuit: str) -> Tensor:
    described = Circuit.from_key(circuit)
    interferometric = described.readout == INTERFEROMETRIC
    columns = parameters.shape[0] * (1 if interferometric else described.n_observables)
    return x.new_empty(*x.shape[:-1], columns, dtype=compute_dtype(x, parameters))


def row_by_row(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of an operator under vmap: the operator on each element of the batch."""

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        results = [
            operator(
                *(
                    argument if dim is None else argument.select(dim, element)
                    for argument, dim in zip(arguments, in_dims, strict=True)
                )
            )
            for element in range(info.batch_size)
        ]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        stacked = tuple(torch.stack(outputs) for outputs in zip(*results, strict=True))
        return stacked, (0,) * len(stacked)

    return rule


def _batched_values(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Tensor, int]:
    """The rule of the forward operator under vmap: a batch of inputs is one leading dimension more."""
    x, parameters, circuit = arguments
    if in_dims[0] is None or in_dims[1] is not None:
        values: tuple[Tensor, int] = row_by_row(expectation_op)(info, in_dims, *arguments)
        return values
    return expectation_op(x.movedim(in_dims[0], 0), parameters, circuit), 0


expectation_op.register_vmap(_batched_values)
backward_op.register_vmap(row_by_row(backward_op))
