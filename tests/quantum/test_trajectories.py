"""Quantum trajectories: norm, mean and spread against density matrices, and the parts that they come in."""

import pytest
import torch
from tests.quantum.mixed_states import NOISES

from amplitune.quantum import Ansatz, Circuit, expectation, trajectories
from amplitune.quantum.bases import readout_values
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.noisy_expectation import noisy_expectation
from amplitune.quantum.trajectories import trajectory_distributions, trajectory_states


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("rotation", ["RY", "Rot"])
def test_every_trajectory_is_a_state_of_norm_one(rotation: str, noise: NoiseModel) -> None:
    circuit = Circuit(3, Ansatz(rotation, "ring", depth=3, rotation_after="RY"))
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    rows[1] = 0
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    states = trajectory_states(rows, angles, circuit, noise, 50, generator)
    assert states.shape == (2, 8, 150)
    assert states.is_complex() == (rotation == "Rot")
    norms = torch.linalg.vector_norm(states, dim=1).unflatten(-1, (3, 50))
    expected = torch.ones_like(norms)
    expected[:, 1] = 0
    torch.testing.assert_close(norms, expected, rtol=0, atol=1e-12)
    assert (states[..., :50] - states[..., :1]).abs().max() > 0.1


CASES: list[tuple[Ansatz, str | tuple[str, ...]]] = [
    (Ansatz("RY", "ring", 2), "Z+ZZ"),
    (Ansatz("RYRZ", "all-to-all", 2, "CZ"), "XYZ"),
    (Ansatz("Rot", "linear", 2, rotation_after="RY"), ("X0 Y2", "Z1 X2", "Y0")),
    (Ansatz("RY", "ring", 2), "probabilities"),
    (Ansatz("RY", "ring", 2, reuploading=True), "XYZ"),
    (Ansatz("RYRZ", "ring", 2), "interferometric"),
]


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize(("ansatz", "readout"), CASES)
def test_the_mean_is_the_density_matrix_within_its_standard_error(
    ansatz: Ansatz, readout: str | tuple[str, ...], noise: NoiseModel
) -> None:
    circuit = Circuit(3, ansatz, readout)
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    exact = noisy_expectation(x, angles, circuit, noise)
    found = noisy_expectation(x, angles, circuit, noise, trajectories=3000, generator=generator)
    assert not exact.standard_error.any()
    # A value that no error changes has no spread but that of rounding.
    allowed = 4.5 * found.standard_error + 1e-12
    assert ((found.values - exact.values).abs() < allowed).all()
    assert 0 < found.standard_error.max() < 0.03


def test_the_standard_error_is_the_spread_of_means() -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring", 2), "XYZ")
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, 8, generator=generator, dtype=torch.float64).expand(2000, 8)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=torch.float64)
    found = noisy_expectation(x, angles, circuit, NOISES["all"], trajectories=25, generator=generator)
    spread = found.values.std(dim=0)
    estimated = found.standard_error.square().mean(dim=0).sqrt()
    # The relative error of a standard deviation from 2,000 means is 1 / sqrt(4,000) = 1.6 %.
    torch.testing.assert_close(spread, estimated, rtol=0.08, atol=0)


def test_without_errors_each_trajectory_is_the_ideal_state() -> None:
    visited = 0
    for ansatz, readout in CASES:
        circuit = Circuit(3, ansatz, readout)
        generator = torch.Generator().manual_seed(2)
        x = torch.randn(2, 7, generator=generator, dtype=torch.float64)
        angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
        (part,) = trajectory_distributions(x, angles, circuit, NoiseModel(), 3, generator)
        values = readout_values(part, circuit).flatten(3)
        expected = expectation(x, angles, circuit).reshape(2, 2, 1, -1).expand_as(values)
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)
        visited += 1
    assert visited == 6


def test_certain_errors_leave_no_chance() -> None:
    circuit = Circuit(2, Ansatz("RY", "none", 1))
    rows = torch.tensor([[3.0, 0.0, 4.0, 0.0]], dtype=torch.float64)
    angles = torch.zeros(circuit.angle_shape())
    flipped = noisy_expectation(rows, angles, circuit, NoiseModel(bit_flip=1), trajectories=4)
    torch.testing.assert_close(flipped.values, -expectation(rows, angles, circuit))
    damped = noisy_expectation(rows, angles, circuit, NoiseModel(amplitude_damping=1), trajectories=4)
    torch.testing.assert_close(damped.values, torch.ones(1, 2, dtype=torch.float64))
    assert max(flipped.standard_error.max(), damped.standard_error.max()) < 1e-15


def test_trajectories_come_in_parts_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = Circuit(4, Ansatz("RY", "ring", 1))
    rows, angles = torch.rand(3, 16), torch.rand(circuit.angle_shape(2))
    monkeypatch.setattr(trajectories, "PASS", 16 * 2 * 3 * 4)
    parts = list(trajectory_distributions(rows, angles, circuit, NoiseModel(bit_flip=0.1), 10))
    assert [part.shape for part in parts] == [(3, 2, runs, 1, 16) for runs in (4, 4, 2)]


@pytest.mark.parametrize(("n", "dtype"), [(11, torch.float32), (13, torch.float64)])
def test_more_qubits_than_density_matrices_hold(n: int, dtype: torch.dtype) -> None:
    circuit = Circuit(n, Ansatz("RY", "ring", 1))
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(2, 2**n - 5, generator=generator, dtype=dtype)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=dtype)
    # A phase flip after the only rotations stays one through every CNOT, and no measurement in Z can see it.
    found = noisy_expectation(
        x, angles, circuit, NoiseModel(phase_flip=0.5), trajectories=8, generator=generator
    )
    torch.testing.assert_close(found.values, expectation(x, angles, circuit), rtol=0, atol=2e-6)
    noisy = noisy_expectation(x, angles, circuit, NoiseModel(0.01), trajectories=8, generator=generator)
    assert noisy.values.dtype == dtype
    assert noisy.standard_error.max() > 0
