"""Density matrices against PennyLane's default.mixed, and their trace and positivity."""

import pytest
import torch
from tests.quantum.mixed_states import NOISES, run_mixed

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.density import density_matrix
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.noisy_expectation import noisy_expectation


def words(n: int) -> tuple[str, ...]:
    """A word of one wire, and words of two and of all wires where there are so many."""
    return ("Y0", *(["X0 Z1"] if n > 1 else []), " ".join(f"{'XYZ'[wire % 3]}{wire}" for wire in range(n)))


@pytest.mark.parametrize("entangling_gate", ["CNOT", "CZ"])
@pytest.mark.parametrize("rotation", ["RY", "RYRZ", "Rot"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_noisy_values_agree_with_pennylane(n: int, rotation: str, entangling_gate: str) -> None:
    ansatz = Ansatz(rotation, "ring", depth=2, entangling_gate=entangling_gate)
    circuits = [Circuit(n, ansatz, readout) for readout in ("Z", "XYZ", words(n), "probabilities")]
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(2, 2**n - n // 2, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuits[0].angle_shape(), generator=generator, dtype=torch.float64)
    visited = 0
    for noise in NOISES.values():
        for circuit, expected in zip(circuits, run_mixed(x, angles, circuits, noise), strict=True):
            found = noisy_expectation(x, angles, circuit, noise)
            torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10)
            assert not found.standard_error.any()
            visited += 1
    assert visited == 20


@pytest.mark.parametrize(
    ("ansatz", "readout"),
    [
        (Ansatz("RY", "linear", 2, rotation_after="RYRZ"), "Z+ZZ"),
        (Ansatz("RYRZ", "all-to-all", 2, rotation_after="Rot"), "XYZ"),
        (Ansatz("Rot", ((2, 0), (0, 1), (2, 0)), 1, "CZ", rotation_after="RY"), ("X0 Y2", "Z1")),
        (Ansatz("RY", "ring", 3, reuploading=True), "XYZ"),
        (Ansatz("Rot", "ring", 2, rotation_after="RY", reuploading=True), "Z"),
        (Ansatz("RY", "ring", 2), "interferometric"),
        (Ansatz("Rot", "linear", 2, "CZ", "RYRZ"), "interferometric"),
    ],
)
def test_the_rest_of_the_family_agrees_with_pennylane(ansatz: Ansatz, readout: str | tuple[str, ...]) -> None:
    circuit = Circuit(3, ansatz, readout)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    for noise in (NOISES["all"], NOISES["amplitude_damping"]):
        (expected,) = run_mixed(x, angles, [circuit], noise)
        found = noisy_expectation(x, angles, circuit, noise).values
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rotation", ["RY", "Rot"])
def test_density_matrices_have_trace_one_and_no_negative_eigenvalue(rotation: str) -> None:
    circuit = Circuit(4, Ansatz(rotation, "ring", depth=3))
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    rows[1] = 0
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    rho = density_matrix(rows, angles, circuit, NoiseModel(0.05, 0.02, 0.1, 0.2)).permute(0, 3, 1, 2)
    assert rho.is_complex() == (rotation == "Rot")
    assert not rho[:, 1].any()
    rho = rho[:, ::2]
    torch.testing.assert_close(rho, rho.mH, rtol=0, atol=1e-14)
    eigenvalues = torch.linalg.eigvalsh(rho)
    assert eigenvalues.min() > -1e-14
    torch.testing.assert_close(eigenvalues.sum(-1), torch.ones(2, 2, dtype=torch.float64), rtol=0, atol=1e-13)


def test_much_noise_leaves_nothing_but_the_ground_state_of_full_damping() -> None:
    circuit = Circuit(3, Ansatz("RY", "none", depth=1))
    rows, angles = (
        torch.ones(1, 8, dtype=torch.float64),
        torch.ones(circuit.angle_shape(), dtype=torch.float64),
    )
    damped = noisy_expectation(rows, angles, circuit, NoiseModel(amplitude_damping=1)).values
    torch.testing.assert_close(damped, torch.ones_like(damped))
    mixed = noisy_expectation(rows, angles, circuit, NoiseModel(depolarizing=0.75)).values
    torch.testing.assert_close(mixed, torch.zeros_like(mixed), rtol=0, atol=1e-14)
