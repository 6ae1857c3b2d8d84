"""Derivatives by shifted angles against autograd."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.capacity.derivatives import readout_derivatives, shifted, state_derivatives

CIRCUITS = [
    Circuit(1, Ansatz("RY", "none")),
    Circuit(3, Ansatz("RY", "ring", depth=2)),
    Circuit(3, Ansatz("RYRZ", "linear", depth=2, rotation_after="RY"), readout="XYZ"),
    Circuit(2, Ansatz("Rot", "ring", entangling_gate="CZ"), readout="probabilities"),
    Circuit(3, Ansatz("RYRZ", "ring", depth=3, reuploading=True), readout="Z+ZZ"),
    Circuit(2, Ansatz("Rot", "ring", depth=2), readout="interferometric"),
    Circuit(2, Ansatz("RY", "ring"), norm="restore"),
]


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_readout_derivatives_are_autograds(circuit: Circuit) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2**circuit.n_qubits, generator=generator, dtype=torch.float64)
    angles = 3 * torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    found = readout_derivatives(x, angles, circuit)
    count = angles[0].numel()
    for draw, one in enumerate(angles.split(1)):
        jacobian = torch.autograd.functional.jacobian(lambda a: expectation(x, a, circuit), one)
        torch.testing.assert_close(found[draw], jacobian.reshape(-1, count), rtol=0, atol=1e-13)
    some = readout_derivatives(x, angles, circuit, slice(count - 1, count))
    torch.testing.assert_close(some, found[:, :, -1:], rtol=0, atol=1e-15)


@pytest.mark.parametrize("circuit", CIRCUITS[:5])
def test_state_derivatives_are_autograds(circuit: Circuit) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 2**circuit.n_qubits, generator=generator, dtype=torch.float64)
    angles = 3 * torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    states, slopes = state_derivatives(x, angles, circuit)
    assert states.shape == (3, 2, 1, 2**circuit.n_qubits)
    parts = [torch.real] if circuit.is_real else [torch.real, torch.imag]
    for part in parts:

        def run(one: Tensor, part: Callable[[Tensor], Tensor] = part) -> Tensor:
            return part(statevector(x, one, circuit))

        for draw, one in enumerate(angles.split(1)):
            jacobian = torch.autograd.functional.jacobian(run, one)
            expected = jacobian.reshape(3, 2**circuit.n_qubits, -1).transpose(1, 2)
            torch.testing.assert_close(part(slopes[:, draw]), expected, rtol=0, atol=1e-13)


def test_one_angle_is_shifted_at_a_time() -> None:
    angles = torch.zeros(2, 1, 2, 2)
    moved = shifted(angles, 0.5)
    assert moved.shape == (8, 1, 2, 2)
    assert torch.equal(moved.flatten(1)[:4], 0.5 * torch.eye(4))
    assert torch.equal(shifted(angles, 0.5, slice(2, 3)).flatten(1)[:, 2], torch.full((2,), 0.5))
