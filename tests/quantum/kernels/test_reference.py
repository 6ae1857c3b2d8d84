"""The torch kernel: passes over the tokens change nothing, and gradients equal plain autograd's."""

import pytest
import torch

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.kernels import reference
from amplitune.quantum.program import block_parameters, program_of

CIRCUITS = [
    Circuit(4, Ansatz("RY", "ring", 3)),
    Circuit(4, Ansatz("Rot", "linear", 2, "CZ", "RY"), "XYZ"),
    Circuit(4, Ansatz("RYRZ", "ring", 3, rotation_after="RY", reuploading=True), "Z+ZZ"),
    Circuit(4, Ansatz("RY", "ring", 2), "probabilities"),
]


@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
@pytest.mark.parametrize("amplitudes", [1, 2 * 16 * 3])
def test_passes_change_nothing_and_gradients_are_those_of_autograd(
    circuit: Circuit, amplitudes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One token a pass, or three: seven tokens need seven passes, or three with a shorter one at the end.
    monkeypatch.setattr(reference, "PASS_ON_CPU", amplitudes)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(7, 13, generator=generator, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    parameters = block_parameters(angles, circuit).detach().requires_grad_()
    program = program_of(circuit)
    expected = reference.values(x, parameters, program)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    expected_dx, expected_parameters = torch.autograd.grad((expected * grad).sum(), (x, parameters))

    z = reference.forward(x.detach(), parameters.detach(), program)
    dx, dparameters, again = reference.backward(grad, x.detach(), parameters.detach(), program, needs_x=True)

    torch.testing.assert_close(z, expected.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(again, expected.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(dx, expected_dx, rtol=0, atol=1e-13)
    if not dparameters.is_complex():
        torch.testing.assert_close(dparameters, expected_parameters, rtol=0, atol=1e-13)
        return

    # Along the group of unitaries only: what leaves it differs, because the norm is taken as kept.
    def tangent(gradient: torch.Tensor) -> torch.Tensor:
        product = gradient @ parameters.detach().mH
        return product - product.mH

    torch.testing.assert_close(tangent(dparameters), tangent(expected_parameters), rtol=0, atol=1e-13)


def test_no_gradient_of_the_input_unless_wanted() -> None:
    program = program_of(CIRCUITS[0])
    dx, _, _ = reference.backward(
        torch.ones(2, 4), torch.ones(2, 9), torch.ones(1, 3, 4), program, needs_x=False
    )
    assert dx is None
