"""Noise models: their channels against Kraus operators, misread bits, and what is refused."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.noise import NoiseModel, misread

ONE, X, Y, Z = (
    torch.tensor(matrix, dtype=torch.complex128)
    for matrix in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])
)


def kraus(noise: NoiseModel) -> list[list[Tensor]]:
    """Each channel's Kraus operators, in the order in which the channels act."""
    p, b, f, a = noise.depolarizing, noise.bit_flip, noise.phase_flip, noise.amplitude_damping
    return [
        [(1 - p) ** 0.5 * ONE, *((p / 3) ** 0.5 * pauli for pauli in (X, Y, Z))],
        [(1 - b) ** 0.5 * ONE, b**0.5 * X],
        [(1 - f) ** 0.5 * ONE, f**0.5 * Z],
        [
            torch.tensor([[1, 0], [0, (1 - a) ** 0.5]], dtype=torch.complex128),
            torch.tensor([[0, a**0.5], [0, 0]], dtype=torch.complex128),
        ],
    ]


@pytest.mark.parametrize(
    "noise",
    [
        NoiseModel(),
        NoiseModel(depolarizing=0.3),
        NoiseModel(bit_flip=0.2),
        NoiseModel(phase_flip=0.1),
        NoiseModel(amplitude_damping=0.4),
        NoiseModel(0.1, 0.2, 0.3, 0.4),
        NoiseModel(1, 1, 1, 1),
    ],
)
def test_the_superoperator_is_the_product_of_the_kraus_sums(noise: NoiseModel) -> None:
    generator = torch.Generator().manual_seed(0)
    rho = torch.randn(2, 2, dtype=torch.complex128, generator=generator)
    expected = rho
    for operators in kraus(noise):
        expected = sum((k @ expected @ k.mH for k in operators), torch.zeros_like(rho))
    found = (noise.superoperator().to(torch.complex128) @ rho.flatten()).reshape(2, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert sum(noise.pauli_probabilities) == pytest.approx(1, abs=1e-14)


def test_a_full_depolarisation_forgets_the_state() -> None:
    mixed = NoiseModel(depolarizing=0.75).superoperator() @ torch.tensor([1, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(mixed, torch.tensor([0.5, 0, 0, 0.5], dtype=torch.float64))


def test_each_wire_is_misread_by_its_own_confusion_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    distribution = torch.rand(3, 2, 8, generator=generator, dtype=torch.float64)
    wire = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    whole = torch.kron(torch.kron(wire, wire), wire)
    torch.testing.assert_close(misread(distribution, 0.1), distribution @ whole.T)
    torch.testing.assert_close(misread(distribution, 1), distribution.flip(-1))
    assert misread(distribution, 0) is distribution


def test_only_errors_of_gates_act_on_gates() -> None:
    assert not NoiseModel(readout_error=0.1).acts_on_gates
    names = [entry.name for entry in fields(NoiseModel) if entry.name != "readout_error"]
    assert names == ["depolarizing", "bit_flip", "phase_flip", "amplitude_damping"]
    assert all(NoiseModel(**{name: 0.1}).acts_on_gates for name in names)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), True, "0.1", None])
def test_a_probability_outside_zero_to_one_is_refused(value: object) -> None:
    visited = 0
    for entry in fields(NoiseModel):
        with pytest.raises(ConfigError, match=rf"`{entry.name}` must be a probability from 0 to 1, but is"):
            NoiseModel(**{entry.name: value})  # type: ignore[arg-type]
        visited += 1
    assert visited == 5
