"""Cases of the native kernel, and the check against plain autograd through the torch operations."""

import os

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Circuit
from amplitune.quantum.kernels import native, reference
from amplitune.quantum.program import Program, block_parameters, program_of

needs_compiler = pytest.mark.skipif(
    bool(native.unavailable()) and not os.environ.get("CI"), reason=str(native.unavailable())
)


def case(
    circuit: Circuit, features: int, tokens: int = 3, circuits: int = 1, spread: float = 2.0
) -> tuple[Tensor, Tensor, Tensor, Program]:
    """Rows, angles of all quadrants as a program takes them, dL/dz, the program: all float64."""
    generator = torch.Generator().manual_seed(5)
    angles = spread * torch.randn(circuit.angle_shape(circuits), generator=generator, dtype=torch.float64)
    x = torch.randn(tokens, features, generator=generator, dtype=torch.float64)
    program = program_of(circuit)
    grad_z = torch.randn(tokens, circuits * program.n_observables, generator=generator, dtype=torch.float64)
    return x, block_parameters(angles, circuit), grad_z, program


def truth(x: Tensor, angles: Tensor, grad_z: Tensor, program: Program) -> tuple[Tensor, Tensor, Tensor]:
    """z, dL/dx and dL/dangles in float64 by plain autograd through the torch operations."""
    x, angles = (tensor.detach().double().clone().requires_grad_() for tensor in (x, angles))
    z = reference.values(x, angles, program)
    dx, dangles = torch.autograd.grad(z, (x, angles), grad_z.double())
    return z.detach(), dx, dangles


def assert_agrees(x: Tensor, angles: Tensor, grad_z: Tensor, program: Program, tolerance: float) -> None:
    expected, expected_dx, expected_dangles = truth(x, angles, grad_z, program)
    z = native.forward(x, angles, program)
    dx, dangles, again = native.backward(grad_z, x, angles, program, True)
    assert dx is not None
    assert torch.equal(z, again)
    assert dx.dtype == x.dtype
    torch.testing.assert_close(z.double(), expected, rtol=0, atol=tolerance)
    for made, wanted in ((dx, expected_dx), (dangles, expected_dangles)):
        # The result is rounded once more where its dtype is shorter than the compute dtype.
        allowed = max(tolerance, torch.finfo(made.dtype).eps) * max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(made.double(), wanted, rtol=0, atol=allowed)
