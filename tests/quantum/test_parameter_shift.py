"""The parameter-shift rule against reverse-mode gradients in double precision."""

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.parameter_shift import parameter_shift


@pytest.mark.parametrize("readout", ["Z+ZZ", "XYZ", "probabilities", "interferometric"])
@pytest.mark.parametrize("norm", ["drop", "restore"])
@pytest.mark.parametrize("rotation", ["RY", "RYRZ", "Rot"])
def test_shifted_values_give_the_exact_gradient(rotation: str, norm: str, readout: str) -> None:
    reuploading = readout != "interferometric"
    circuit = Circuit(3, Ansatz(rotation, "ring", 2, "CNOT", "RY", reuploading), readout, norm)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64, requires_grad=True)
    z = expectation(x, angles, circuit)
    weights = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    (exact,) = torch.autograd.grad(z, angles, weights)
    shifted = parameter_shift(lambda other: expectation(x, other, circuit), angles, weights)
    torch.testing.assert_close(shifted, exact, rtol=0, atol=1e-12)


def test_each_angle_of_one_circuit_costs_two_evaluations() -> None:
    circuit, evaluations = Circuit(3, Ansatz("RYRZ", "ring", 2)), 0
    x, angles = torch.ones(2, 8), torch.zeros(circuit.angle_shape(5))

    def values(shifted: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return expectation(x, shifted, circuit)

    parameter_shift(values, angles, torch.ones(2, 15))
    assert evaluations == 2 * 2 * 2 * 3
