"""Resources: counts that are known in closed form, and a bound on shots that holds."""

import json
import math
import sys
from typing import Any

import pytest
import torch
from tests.quantum.export.cases import FAMILY, SIZE, drawn

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.bases import bases_of
from amplitune.quantum.gate_list import layer_gates
from amplitune.quantum.resources import resources


def test_the_papers_circuit_on_a_layer_2048_wide() -> None:
    counts = resources(Circuit(11), 2048, modules=2, tokens=100, precision=0.1, confidence=0.95)
    assert (counts.qubits, counts.angles, counts.gates) == (11, 22, {"RY": 11, "CNOT": 11})
    assert (counts.two_qubit_gates, counts.depth) == (11, 12)
    assert (counts.preparation.ry, counts.preparation.cnot, counts.preparations) == (2047, 2046, 1)
    assert (counts.measurement_bases, counts.observables) == (1, 11)
    assert counts.forward_evaluations == 200
    assert counts.angle_gradient_evaluations == 2 * 11 * 200
    assert counts.input_gradient_evaluations == 2 * 2047 * 200
    assert counts.shots == math.ceil(2 * math.log(2 * 11 / 0.05) / 0.01)
    assert counts.shots_per_step == counts.shots * 23 * 200
    assert counts.transpiled is None and counts.transpiled_missing is None


def test_counts_of_the_whole_family() -> None:
    visited = 0
    for circuit in FAMILY:
        ansatz = circuit.ansatz
        counts = resources(circuit, 7, circuits=2, tokens=3)
        pairs = len(ansatz.pairs(3)) * 2
        assert sum(counts.gates.values()) == 2 * 3 * ansatz.rotations + pairs
        assert counts.two_qubit_gates == counts.gates.get(ansatz.entangling_gate, 0) == pairs
        assert counts.angles == 2 * 2 * 3 * ansatz.rotations
        assert counts.angle_gradient_evaluations == 2 * counts.angles * 3
        assert counts.preparations == (3 if ansatz.reuploading else 1)
        assert counts.reflections == int(ansatz.reuploading)
        visited += 1
    assert visited == SIZE


def test_each_basis_is_measured_apart() -> None:
    one, three = (resources(Circuit(3, readout=readout), 8, tokens=5) for readout in ("Z", "XYZ"))
    assert three.measurement_bases == len(bases_of(Circuit(3, readout="XYZ"))) == 3
    assert three.forward_evaluations == 3 * one.forward_evaluations
    assert three.angle_gradient_evaluations == 3 * one.angle_gradient_evaluations


def test_the_ancilla_counts() -> None:
    counts = resources(Circuit(3, readout="interferometric"), 5)
    assert (counts.qubits, counts.preparation.ry) == (4, 15)


@pytest.mark.parametrize(("readout", "values"), [("Z", 3), ("probabilities", 8)])
def test_so_many_shots_are_precise_enough(readout: str, values: int) -> None:
    precision, confidence, repetitions = 0.1, 0.9, 400
    shots = resources(Circuit(3, readout=readout), precision=precision, confidence=confidence).shots
    generator = torch.Generator().manual_seed(0)
    # The worst case: values with the largest variance, p = 1/2, drawn apart.
    ones = torch.rand(repetitions, values, shots, generator=generator).round().mean(-1)
    errors = (ones - 0.5).abs() * (1 if readout == "probabilities" else 2)
    assert float((errors.amax(-1) <= precision).float().mean()) >= confidence
    quarter = resources(Circuit(3, readout=readout), precision=2 * precision, confidence=confidence).shots
    assert abs(quarter - shots / 4) <= 1


@pytest.mark.parametrize(
    ("basis", "two_qubit_gate"), [("ibm-heron", "cz"), ("ibm-eagle", "ecr"), ("ion", "rxx"), ("cnot", "cx")]
)
def test_transpiled_to_a_named_basis(basis: str, two_qubit_gate: str) -> None:
    circuit = Circuit(4, Ansatz("RYRZ", "linear", 2))
    native = resources(circuit, basis=basis).transpiled
    assert native is not None and native.basis == basis and native.optimization_level == 1
    # A CNOT is one native two-qubit gate between rotations, and cannot be less.
    assert native.gates[two_qubit_gate] == native.two_qubit_gates == 6
    assert native.depth > resources(circuit).depth
    assert resources(circuit, basis=basis).transpiled == native


def test_the_transpiler_takes_the_angles_it_is_given() -> None:
    circuit = Circuit(2, Ansatz("RY", "none"))
    zero = resources(circuit, angles=torch.zeros(circuit.angle_shape()), basis="ibm-heron").transpiled
    assert zero is not None and zero.gates == {} and zero.depth == 0
    assert resources(circuit, angles=torch.zeros(circuit.angle_shape())).gates == {"RY": 2}


def test_without_qiskit_the_field_is_empty_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit", None)
    counts = resources(Circuit(3), basis="ion")
    assert counts.transpiled is None
    assert counts.transpiled_missing is not None and "pip install" in counts.transpiled_missing


def test_the_counts_are_plain_values() -> None:
    counts = resources(Circuit(3), basis="ion")
    assert json.loads(json.dumps(counts.to_dict())) == counts.to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 9}, "`features` must be from 1 to 8"),
        ({"features": True}, "`features`"),
        ({"tokens": 0}, "`tokens` must be an integer of at least 1"),
        ({"circuits": 1.0}, "`circuits`"),
        ({"modules": True}, "`modules`"),
        ({"precision": 0}, "`precision` must be a number between 0 and 1"),
        ({"precision": math.nan}, "`precision`"),
        ({"confidence": 1}, "`confidence` must be a number between 0 and 1"),
        ({"basis": "ibm-heroin"}, "Did you mean 'ibm-heron'"),
        ({"angles": torch.zeros(2, 1, 1, 3)}, "of one circuit"),
    ],
)
def test_misuse(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resources(Circuit(3), **arguments)


def test_drawn_angles_make_no_difference_to_the_counts() -> None:
    circuit = FAMILY[0]
    _, angles = drawn(circuit, 8)
    assert len(layer_gates(circuit, angles)) == circuit.ansatz.depth
    assert resources(circuit, angles=angles) == resources(circuit)
