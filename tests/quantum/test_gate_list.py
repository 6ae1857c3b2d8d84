"""The flat list of gates: its order, its angles, its inverse and its depth."""

import math

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.gate_list import PlacedGate, depth_of, flip_zero, inverted, layer_gates, one_circuit


def test_a_layer_is_its_rotations_its_entangler_and_the_rotations_after_it() -> None:
    circuit = Circuit(2, Ansatz("RYRZ", "linear", 2, "CZ", rotation_after="RY"))
    angles = torch.arange(12.0).reshape(circuit.angle_shape())
    layers = layer_gates(circuit, angles)
    assert len(layers) == 2
    assert [(gate.name, gate.wires, gate.angle, gate.row) for gate in layers[1]] == [
        ("RY", (0,), 6.0, 0),
        ("RY", (1,), 7.0, 0),
        ("RZ", (0,), 8.0, 1),
        ("RZ", (1,), 9.0, 1),
        ("CZ", (0, 1), None, None),
        ("RY", (0,), 10.0, 2),
        ("RY", (1,), 11.0, 2),
    ]
    assert [gate.angle for gate in layer_gates(circuit)[1]] == [None] * 7
    assert layer_gates(circuit, angles[0]) == layers


def test_the_inverse_undoes_in_reverse_order() -> None:
    gates = [PlacedGate("RY", (0,), 0.5), PlacedGate("CNOT", (0, 1)), PlacedGate("RZ", (1,), -1.0)]
    assert inverted(gates) == [
        PlacedGate("RZ", (1,), 1.0),
        PlacedGate("CNOT", (0, 1)),
        PlacedGate("RY", (0,), -0.5),
    ]
    assert inverted(inverted(gates)) == gates


@pytest.mark.parametrize("gate", [PlacedGate("SDG", (0,)), PlacedGate("RY", (0,))])
def test_a_gate_whose_inverse_the_list_cannot_hold(gate: PlacedGate) -> None:
    with pytest.raises(ValueError, match=gate.name):
        inverted([gate])


@pytest.mark.parametrize(
    ("circuit", "depth"),
    [
        (Circuit(4, Ansatz("RY", "none")), 1),
        (Circuit(4, Ansatz("Rot", "none")), 3),
        (Circuit(4, Ansatz("RY", "ring")), 5),
        (Circuit(4, Ansatz("RY", ((0, 1), (2, 3)))), 2),
        (Circuit(1, Ansatz("RY", "ring", depth=3)), 3),
    ],
)
def test_the_depth_counts_gates_on_different_wires_once(circuit: Circuit, depth: int) -> None:
    assert depth_of(gate for layer in layer_gates(circuit) for gate in layer) == depth


def test_no_gates_have_no_depth() -> None:
    assert depth_of([]) == 0


def test_the_flip_of_the_first_state_names_every_wire() -> None:
    assert [gate.wires for gate in flip_zero(2)] == [(0,), (1,), (0, 1), (0,), (1,)]


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (torch.zeros(2, 1, 1, 3), "of one circuit, but are of 2 in parallel"),
        (torch.full((1, 1, 1, 3), math.nan), "`angles` must be finite"),
        (torch.zeros(1, 1, 1, 4), "`angles` must have the shape"),
        (torch.zeros(1, 1, 3, dtype=torch.int64), "`angles` must be a real floating-point tensor"),
        ([0.0], "`angles` must be a real floating-point tensor"),
    ],
)
def test_angles_that_are_not_those_of_one_circuit(angles: torch.Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        one_circuit(angles, Circuit(3))
