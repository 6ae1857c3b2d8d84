"""The gradient of a circuit's values as autograd functions: reversible at first order, plain above it."""

from typing import Any

import torch
from torch import Tensor

from amplitune.quantum.operators import backward_op, differentiable, expectation_op

# Functions of autograd rather than operators with registered gradients, because torch.func.grad takes only
# the former. Their vmap rule is made from that of the operators inside.


class Values(torch.autograd.Function):
    """The values z of a circuit; keeps x and the parameters only, and recomputes the states."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, parameters: Tensor, circuit: str) -> Tensor:
        """Compute z, shape (..., circuits * m)."""
        return expectation_op(x, parameters, circuit)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs[:2])
        ctx.circuit = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Take the gradients by x and by the parameters."""
        needs_x = ctx.needs_input_grad[0]
        x, parameters = ctx.saved_tensors
        dx, dparameters, _ = gradients(grad_z, x, parameters, ctx.circuit, needs_x)
        return dx if needs_x else None, dparameters, None


class Gradients(torch.autograd.Function):
    """The gradients of a circuit's values, with z once more; differentiated itself, it keeps every state."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        grad_z: Tensor, x: Tensor, parameters: Tensor, circuit: str, needs_x: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute dL/dx (empty unless wanted), dL/dparameters and z."""
        return backward_op(grad_z, x, parameters, circuit, needs_x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, str, bool], output: object) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs[:3])
        ctx.circuit, ctx.needs_x = inputs[3:]

    @staticmethod
    def backward(
        ctx: Any, grad_dx: Tensor, grad_dparameters: Tensor, grad_z: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Differentiate the gradients of the plain computation."""
        outer, circuit = (grad_dx, grad_dparameters, grad_z), ctx.circuit

        def values(x: Tensor, parameters: Tensor) -> Tensor:
            return differentiable(x, parameters, circuit)

        def first(g: Tensor, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            pulled: Any = torch.func.vjp(values, x, parameters)
            z, pull = pulled
            dx, dparameters = pull(g)
            return dx if ctx.needs_x else x.new_zeros(0), dparameters, z

        pulled_twice: Any = torch.func.vjp(first, *ctx.saved_tensors)
        dg, dx, dparameters = pulled_twice[1](outer)
        return dg, dx, dparameters, None, None


def values(x: Tensor, parameters: Tensor, circuit: str) -> Tensor:
    """Compute a circuit's values, differentiably.

    Args:
        x: real, shape (..., features).
        parameters: those of `block_parameters`, or the functionals of an interferometric readout.
        circuit: the circuit's key.

    Returns:
        z, shape (..., circuits * m).
    """
    z: Tensor = Values.apply(x, parameters, circuit)
    return z


def gradients(
    grad_z: Tensor, x: Tensor, parameters: Tensor, circuit: str, needs_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of a circuit's values, differentiably.

    Args:
        grad_z: dL/dz, shape (..., circuits * m).
        x: real, shape (..., features).
        parameters: as for `values`.
        circuit: the circuit's key.
        needs_x: whether dL/dx is wanted.

    Returns:
        dL/dx (empty unless wanted), dL/dparameters, and z once more.
    """
    results: tuple[Tensor, Tensor, Tensor] = Gradients.apply(grad_z, x, parameters, circuit, needs_x)
    return results
