"""Gradients in float64 against finite differences and the parameter-shift rule."""

import pytest
import torch

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.ansatz import ROTATIONS


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize(("n", "features", "depth"), [(1, 2, 1), (3, 6, 2)])
def test_gradients_equal_finite_differences(rotation: str, n: int, features: int, depth: int) -> None:
    circuit = Circuit(n, Ansatz(rotation, "ring", depth))
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(2, features, generator=generator, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, angles: expectation(x, angles, circuit), (x, angles))
    assert torch.autograd.gradcheck(lambda x, angles: statevector(x, angles, circuit), (x, angles))


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_second_derivatives_equal_finite_differences(rotation: str) -> None:
    circuit = Circuit(2, Ansatz(rotation, "ring", depth=2))
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, angles: expectation(x, angles, circuit), (x, angles))


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_gradients_to_angles_equal_the_parameter_shift_rule(rotation: str) -> None:
    circuit = Circuit(4, Ansatz(rotation, "all-to-all", depth=2))
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(3, 13, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    found = torch.autograd.functional.jacobian(lambda angles: expectation(x, angles, circuit), angles)

    checked = 0
    for index in torch.cartesian_prod(*(torch.arange(size) for size in angles.shape)).tolist():
        shift = torch.zeros_like(angles)
        shift[tuple(index)] = torch.pi / 2
        expected = (expectation(x, angles + shift, circuit) - expectation(x, angles - shift, circuit)) / 2
        torch.testing.assert_close(found[:, :, *index], expected, rtol=0, atol=1e-13)
        checked += 1
    assert checked == angles.numel()
