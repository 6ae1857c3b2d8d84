"""The circuit: an immutable, hashable value with checked arguments."""

import json

import pytest
import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation, statevector


def test_circuit_knows_its_sizes() -> None:
    circuit = Circuit(n_qubits=5, ansatz=Ansatz("Rot", "linear", depth=4), readout="Z")
    assert circuit.n_observables == 5
    assert circuit.angle_shape() == (1, 4, 3, 5)
    assert circuit.angle_shape(circuits=6) == (6, 4, 3, 5)
    assert not circuit.is_real
    assert Circuit(5).is_real


def test_circuit_is_an_immutable_value() -> None:
    assert len({Circuit(3), Circuit(3, Ansatz("RY", "ring", 1), "Z"), Circuit(4)}) == 2
    with pytest.raises(AttributeError):
        Circuit(3).n_qubits = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_qubits": 0}, r"`n_qubits` must be an integer of at least 1, but is 0"),
        ({"n_qubits": "3"}, r"`n_qubits` must be an integer of at least 1, but is '3'"),
        ({"n_qubits": True}, r"`n_qubits` must be an integer of at least 1, but is True"),
        ({"n_qubits": 3, "ansatz": "RY"}, r"`ansatz` must be an Ansatz, but is 'RY'"),
        ({"n_qubits": 3, "readout": "z"}, r"`readout` must be one of 'Z', .*, but is 'z'"),
        ({"n_qubits": 3, "readout": "interferometry"}, r"Did you mean 'interferometric'\?"),
        ({"n_qubits": 3, "readout": None}, r"`readout` must be one of 'Z', .*, but is None"),
        ({"n_qubits": 3, "readout": []}, r"`readout` must be one of .* at least one Pauli word, but is \[\]"),
        ({"n_qubits": 3, "readout": ["Z3"]}, r"a wire from 0 to 2, but 'Z3' has the factor 'Z3'"),
        ({"n_qubits": 3, "readout": ["ZZ"]}, r"'ZZ' has the factor 'ZZ'"),
        ({"n_qubits": 3, "readout": ["Z0 X0"]}, r"`readout` must name each wire of a word once"),
        ({"n_qubits": 3, "readout": [""]}, r"`readout` must hold words of at least one Pauli matrix"),
        (
            {"n_qubits": 3, "readout": [0]},
            r"`readout` must hold words of at least one Pauli matrix, but has 0",
        ),
        ({"n_qubits": 3, "norm": "keep"}, r"`norm` must be one of 'drop', 'restore', but is 'keep'"),
        ({"n_qubits": 3, "ansatz": Ansatz(entangler=((0, 3),))}, r"wires from 0 to 2 .* the pair \(0, 3\)"),
        (
            {"n_qubits": 3, "ansatz": Ansatz(depth=2, reuploading=True), "readout": "interferometric"},
            r"`readout` must not be 'interferometric' with reuploading",
        ),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Circuit(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "circuit",
    [
        Circuit(3),
        Circuit(
            4, Ansatz("RY", ((3, 0), (1, 2)), 2, "CZ", "Rot", reuploading=True), ("X0", "Z1 Y3"), "restore"
        ),
        Circuit(2, Ansatz("Rot", "all-to-all"), "probabilities"),
    ],
)
def test_a_circuit_comes_back_from_its_description(circuit: Circuit) -> None:
    assert Circuit.from_dict(circuit.to_dict()) == circuit
    assert Circuit.from_dict(json.loads(json.dumps(circuit.to_dict()))) == circuit
    assert Circuit.from_key(circuit.key) == circuit
    assert len(circuit.to_dict()) == 9


def test_a_description_may_leave_out_defaults_but_not_the_number_of_qubits() -> None:
    assert Circuit.from_dict({"n_qubits": 3, "depth": 2}) == Circuit(3, Ansatz(depth=2))
    with pytest.raises(ConfigError, match=r"`n_qubits` must be given"):
        Circuit.from_dict({"depth": 2})
    with pytest.raises(ConfigError, match=r"`rotations` must be a field of a circuit.* mean .*'rotation'"):
        Circuit.from_dict({"n_qubits": 3, "rotations": "RY"})


ANGLES = torch.zeros(1, 2, 1, 3)


@pytest.mark.parametrize("verb", [expectation, statevector])
@pytest.mark.parametrize(
    ("x", "angles", "message"),
    [
        (torch.zeros(2, 9), ANGLES, r"`n_qubits` must be at least ceil\(log2\(features\)\) = 4 .* but is 3"),
        (torch.zeros(()), ANGLES, r"`x` must have the shape \(\.\.\., features\) .* the shape \(\)"),
        (torch.zeros(2, 0), ANGLES, r"`x` must have the shape \(\.\.\., features\) .* the shape \(2, 0\)"),
        (torch.zeros(8, dtype=torch.int64), ANGLES, r"`x` must be a real .* of dtype torch.int64"),
        (torch.zeros(8, dtype=torch.complex64), ANGLES, r"`x` must be a real .* of dtype torch.complex64"),
        ([1.0, 2.0], ANGLES, r"`x` must be a real .* a list"),
        (torch.zeros(8), torch.zeros(2, 1, 3), r"`angles` must have .* \(circuits, 2, 1, 3\) .* \(2, 1, 3\)"),
        (torch.zeros(8), torch.zeros(1, 1, 1, 3), r"`angles` must have .* has the shape \(1, 1, 1, 3\)"),
        (torch.zeros(8), torch.zeros(1, 2, 3, 3), r"`angles` must have .* has the shape \(1, 2, 3, 3\)"),
        (torch.zeros(8), torch.zeros(1, 2, 1, 4), r"`angles` must have .* has the shape \(1, 2, 1, 4\)"),
        (torch.zeros(8), torch.zeros(0, 2, 1, 3), r"`angles` must have .* at least one circuit"),
        (torch.zeros(8), ANGLES.long(), r"`angles` must be a real .* of dtype torch.int64"),
        (torch.zeros(8), None, r"`angles` must be a real .* a NoneType"),
        (torch.zeros(8), ANGLES.to("meta"), r"`angles` must be on the device of `x`, cpu, but are on meta"),
    ],
)
def test_bad_inputs_of_the_verbs_are_named(verb: object, x: Tensor, angles: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        verb(x, angles, Circuit(3, Ansatz("RY", "ring", depth=2)))  # type: ignore[operator]


def test_torch_compile_counts_the_observables_of_a_circuit_that_no_one_asked_before() -> None:
    circuit = Circuit(3, readout="Z+ZZ")
    compiled = torch.compile(lambda x: x * circuit.n_observables, backend="eager", fullgraph=True)
    assert compiled(torch.ones(())).item() == 6
