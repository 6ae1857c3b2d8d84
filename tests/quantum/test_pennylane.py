"""The circuit engine equals PennyLane's default.qubit to 1e-12 in float64: values, states and gradients."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.ansatz import ENTANGLERS, ENTANGLING_GATES, ROTATIONS
from amplitune.quantum.circuit import NORMS
from amplitune.quantum.readout import NAMES

# Features for a number of qubits: powers of two, just above and just below one, and far fewer than would fit.
FEATURES = {1: 2, 2: 3, 3: 7, 4: 11, 5: 32, 6: 33, 7: 7, 8: 129, 9: 300, 10: 768, 11: 1500}

# n_qubits, features, rotation, entangler, depth: all rotations with all entanglers on every number of qubits.
CASES = [
    (n, features, rotation, entangler, 1 + (n + index) % 3)
    for n, features in FEATURES.items()
    for index, (rotation, entangler) in enumerate(product(ROTATIONS, ENTANGLERS))
] + [
    (1, 1, "RY", "ring", 1),
    (10, 1024, "RY", "ring", 1),
    (11, 1025, "RY", "ring", 1),
    (11, 2048, "RY", "ring", 1),
]


def test_the_cases_cover_every_rotation_entangler_depth_and_number_of_qubits() -> None:
    assert len(CASES) == 11 * 3 * 4 + 4
    seen = {(rotation, entangler, depth) for _, _, rotation, entangler, depth in CASES}
    assert seen == set(product(ROTATIONS, ENTANGLERS, (1, 2, 3)))
    assert {n for n, *_ in CASES} == set(range(1, 12))


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected magnitude where that exceeds 1."""
    assert found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1))


@pytest.mark.parametrize(("n", "features", "rotation", "entangler", "depth"), CASES)
def test_values_states_and_gradients_equal_pennylane(
    pennylane: Callable[[Tensor, Tensor, Circuit], tuple[Tensor, Tensor]],
    n: int,
    features: int,
    rotation: str,
    entangler: str,
    depth: int,
) -> None:
    circuit = Circuit(n, Ansatz(rotation, entangler, depth))
    generator = torch.Generator().manual_seed(n * 1000 + features)
    # A slope over the features keeps the states asymmetric, so that a wrong order of wires or a sign shows.
    x = torch.randn(2, features, generator=generator, dtype=torch.float64) + torch.linspace(0, 2, features)
    x = (x / x.norm(dim=-1, keepdim=True) * torch.tensor([[0.5], [2.0]])).requires_grad_()
    angles = torch.randn(
        circuit.angle_shape(circuits=2), generator=generator, dtype=torch.float64
    ).requires_grad_()

    expected_values, expected_states = pennylane(x, angles, circuit)
    values, states = expectation(x, angles, circuit), statevector(x, angles, circuit)

    assert relative_error(values, expected_values) < 1e-12
    assert relative_error(states, expected_states) < 1e-12
    assert states.is_complex() != circuit.is_real
    weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    expected = torch.autograd.grad((expected_values * weights).sum(), (x, angles))
    found = torch.autograd.grad((values * weights).sum(), (x, angles))
    for gradient, expected_gradient in zip(found, expected, strict=True):
        assert relative_error(gradient, expected_gradient) < 1e-12


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_gradients_through_the_state_equal_pennylane(
    pennylane: Callable[[Tensor, Tensor, Circuit], tuple[Tensor, Tensor]], rotation: str
) -> None:
    circuit = Circuit(4, Ansatz(rotation, "ring", depth=2))
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(3, 13, generator=generator, dtype=torch.float64, requires_grad=True)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 1, 16, generator=generator, dtype=torch.complex128)

    _, expected_states = pennylane(x, angles, circuit)
    states = statevector(x, angles, circuit)

    expected = torch.autograd.grad((expected_states * weights).real.sum(), (x, angles))
    found = torch.autograd.grad((states * weights).real.sum(), (x, angles))
    for gradient, expected_gradient in zip(found, expected, strict=True):
        assert relative_error(gradient, expected_gradient) < 1e-12


# The family around the paper's circuit: n_qubits, features, ansatz, readout, norm.
FAMILY = [
    Circuit(4, Ansatz("RY", entangler, 2, gate, after), readout, norm)
    for entangler, gate, after, readout, norm in (
        ("ring", "CZ", "none", "Z", "drop"),
        ("ring", "CNOT", "RY", "Z+ZZ", "drop"),
        ("linear", "CZ", "RY", "XYZ", "drop"),
        ("all-to-all", "CZ", "RYRZ", "XYZ", "restore"),
        ("ring", "CNOT", "Rot", "probabilities", "drop"),
        ("all-to-all", "CNOT", "none", "probabilities", "restore"),
        ("ring", "CNOT", "none", "interferometric", "drop"),
        ("linear", "CZ", "RYRZ", "interferometric", "restore"),
        (((3, 0), (1, 2), (3, 0), (2, 3)), "CNOT", "none", ("X0", "Z1 Z3", "Y2 X3"), "drop"),
        (((3, 0), (1, 2)), "CZ", "RYRZ", ("Y0", "Y0 Y1 X2 Z3"), "restore"),
    )
] + [
    Circuit(3, Ansatz(rotation, "ring", 3, gate, after, reuploading=True), readout)
    for rotation, gate, after, readout in (
        ("RY", "CNOT", "none", "Z"),
        ("RY", "CZ", "RY", "probabilities"),
        ("RYRZ", "CNOT", "none", "Z+ZZ"),
        ("Rot", "CNOT", "RY", "XYZ"),
    )
]


def test_the_family_visits_every_option() -> None:
    assert len(FAMILY) == 14
    assert {circuit.ansatz.entangling_gate for circuit in FAMILY} == set(ENTANGLING_GATES)
    assert {circuit.ansatz.rotation_after for circuit in FAMILY} == {"none", *ROTATIONS}
    assert {circuit.readout for circuit in FAMILY if isinstance(circuit.readout, str)} == set(NAMES)
    assert {circuit.norm for circuit in FAMILY} == set(NORMS)


@pytest.mark.parametrize("circuit", FAMILY, ids=str)
def test_the_family_equals_pennylane(
    pennylane: Callable[[Tensor, Tensor, Circuit], tuple[Tensor, Tensor]], circuit: Circuit
) -> None:
    generator = torch.Generator().manual_seed(17)
    features = 2**circuit.n_qubits - 3
    x = torch.randn(2, features, generator=generator, dtype=torch.float64) + torch.linspace(0, 2, features)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    x.requires_grad_(), angles.requires_grad_()

    expected_values, expected_states = pennylane(x, angles, circuit)
    values = expectation(x, angles, circuit)

    assert relative_error(values, expected_values) < 1e-12
    assert values.shape[-1] == 2 * circuit.n_observables
    if circuit.readout != "interferometric":
        assert relative_error(statevector(x, angles, circuit), expected_states) < 1e-12
    weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    expected = torch.autograd.grad((expected_values * weights).sum(), (x, angles))
    found = torch.autograd.grad((values * weights).sum(), (x, angles))
    for gradient, expected_gradient in zip(found, expected, strict=True):
        assert relative_error(gradient, expected_gradient) < 1e-12
