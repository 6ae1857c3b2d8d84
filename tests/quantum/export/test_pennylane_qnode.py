"""PennyLane: exported QNodes give the engine's values, on more than one device, and are differentiable."""

import sys

import numpy as np
import pennylane as qml
import pytest
import torch
from tests.quantum.export.cases import FAMILY, READOUTS, SIZE, drawn, one_wire_flipped, readout_circuit

from amplitune.errors import ConfigError, MissingExtraError
from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.export import to_pennylane

SHOTS = 10_000


def test_every_circuit_of_the_family_gives_the_engines_values() -> None:
    visited = 0
    for index, circuit in enumerate(FAMILY):
        x, angles = drawn(circuit, 6, seed=index)
        found = torch.tensor(np.stack(to_pennylane(circuit, angles, x)()))
        assert (found - expectation(x, angles, circuit)).abs().max() < 1e-12, circuit
        visited += 1
    assert visited == SIZE


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_every_readout_on_two_devices(readout: str | tuple[str, ...], device: str) -> None:
    circuit = readout_circuit(readout)
    x, angles = drawn(circuit, 11)
    found = torch.tensor(np.stack(to_pennylane(circuit, angles, x, device=device)()))
    assert (found - expectation(x, angles, circuit)).abs().max() < 1e-12


@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_shots_on_lightning_lie_within_four_standard_errors(readout: str | tuple[str, ...]) -> None:
    circuit = readout_circuit(readout)
    x, angles = drawn(circuit, 11)
    wires = 5 if readout == "interferometric" else 4
    device = qml.device("lightning.qubit", wires=wires, seed=11)
    found = torch.tensor(np.stack(to_pennylane(circuit, angles, x, device=device, shots=SHOTS)()))
    expected = expectation(x, angles, circuit)
    spread = expected * (1 - expected) if readout == "probabilities" else 1 - expected**2
    assert ((found - expected).abs() <= 4 * (spread / SHOTS).sqrt() + 1e-12).all()
    assert (found - expected).abs().max() > 1e-6


@pytest.mark.parametrize("wire", range(4))
def test_each_wire_is_its_own(wire: int) -> None:
    circuit = Circuit(4, Ansatz("RY", "none"))
    qnode = to_pennylane(circuit, torch.zeros(circuit.angle_shape()))
    values = qnode(one_wire_flipped(wire, 4).numpy())
    assert [round(float(value)) for value in values] == [-1 if other == wire else 1 for other in range(4)]


@pytest.mark.parametrize("readout", ["Z", "interferometric"])
def test_rows_may_come_later_and_together(readout: str) -> None:
    circuit = readout_circuit(readout)
    _, angles = drawn(circuit, 11)
    rows = torch.randn(3, 11, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = torch.stack(to_pennylane(circuit, angles)(rows), dim=-1)
    assert (found - expectation(rows, angles, circuit)).abs().max() < 1e-12


def test_gradients_by_pennylane_are_the_engines() -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring", 2))
    x, angles = drawn(circuit, 7)
    x.requires_grad_(), angles.requires_grad_()
    weights = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    values = torch.stack(to_pennylane(circuit, angles)(x, angles[0]))
    found = torch.autograd.grad((weights * values).sum(), (x, angles))
    expected = torch.autograd.grad((weights * expectation(x, angles, circuit)).sum(), (x, angles))
    for ours, theirs in zip(expected, found, strict=True):
        assert (ours - theirs).abs().max() < 1e-12


def test_without_an_input_the_circuit_starts_in_zero() -> None:
    circuit = readout_circuit("Z")
    x, angles = drawn(circuit, 1)
    found = torch.tensor(np.stack(to_pennylane(circuit, angles)()))
    assert (found - expectation(x.abs(), angles, circuit)).abs().max() < 1e-12


def test_misuse() -> None:
    reuploading = Circuit(3, Ansatz(depth=2, reuploading=True))
    zeros = torch.zeros(reuploading.angle_shape())
    with pytest.raises(ConfigError, match="`x` must be given with reuploading"):
        to_pennylane(reuploading, zeros)()
    with pytest.raises(ConfigError, match="`x` must be one row"):
        to_pennylane(reuploading, zeros)(torch.ones(2, 8))
    with pytest.raises(ConfigError, match="`device` must have the wires 0 to 2"):
        to_pennylane(reuploading, zeros, device=qml.device("default.qubit", wires=2))
    with pytest.raises(ConfigError, match="`x` must be finite and not all zero"):
        to_pennylane(reuploading, zeros, torch.zeros(8))


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pennylane", None)
    circuit = Circuit(2)
    with pytest.raises(MissingExtraError, match=r"pip install 'amplitune\[quantum\]'"):
        to_pennylane(circuit, torch.zeros(circuit.angle_shape()))
