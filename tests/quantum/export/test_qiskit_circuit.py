"""Qiskit: the states, observables and counts of exported circuits equal the engine's."""

import sys

import pytest
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_aer import AerSimulator
from tests.quantum.export.cases import FAMILY, READOUTS, SIZE, drawn, one_wire_flipped, readout_circuit

from amplitune.errors import ConfigError, MissingExtraError
from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.bases import bases_of
from amplitune.quantum.export import qiskit_labels, to_qiskit, values_from_counts

SHOTS = 10_000


def test_every_circuit_of_the_family_ends_in_the_engines_state() -> None:
    visited = 0
    for index, circuit in enumerate(FAMILY):
        x, angles = drawn(circuit, 6, seed=index)
        built = to_qiskit(circuit, angles, x, measured=False)
        state = torch.from_numpy(Statevector(built).reverse_qargs().data.copy())
        expected = statevector(x, angles, circuit)[0].to(torch.complex128)
        # Qiskit's own StatePreparation is right to about 1e-12, and reuploading runs it three times.
        assert (state - expected).abs().max() < 1e-10, circuit
        visited += 1
    assert visited == SIZE


@pytest.mark.parametrize("readout", [name for name in READOUTS if name != "probabilities"], ids=str)
def test_the_labels_read_the_engines_values(readout: str | tuple[str, ...]) -> None:
    circuit = readout_circuit(readout)
    x, angles = drawn(circuit, 11)
    state = Statevector(to_qiskit(circuit, angles, x, measured=False))
    found = [state.expectation_value(SparsePauliOp(label)).real for label in qiskit_labels(circuit)]
    expected = expectation(x, angles, circuit)
    assert (torch.tensor(found, dtype=torch.float64) - expected).abs().max() < 1e-12


def run_aer(circuits: list[QuantumCircuit], seed: int) -> list[dict[str, int]]:
    simulator = AerSimulator(seed_simulator=seed)
    ready = transpile(circuits, simulator, optimization_level=0, seed_transpiler=0)
    result = simulator.run(ready, shots=SHOTS).result()
    return [result.get_counts(index) for index in range(len(circuits))]


@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_counts_from_aer_lie_within_four_standard_errors(readout: str | tuple[str, ...]) -> None:
    circuit = readout_circuit(readout)
    x, angles = drawn(circuit, 11)
    built = [to_qiskit(circuit, angles, x, basis=index) for index in range(len(bases_of(circuit)))]
    found = values_from_counts(circuit, run_aer(built, seed=5))
    expected = expectation(x, angles, circuit)
    spread = expected * (1 - expected) if readout == "probabilities" else 1 - expected**2
    assert ((found - expected).abs() <= 4 * (spread / SHOTS).sqrt() + 1e-12).all()
    # Sampled, not computed.
    assert (found - expected).abs().max() > 1e-6


@pytest.mark.parametrize("wire", range(4))
def test_the_bit_of_each_wire_stands_where_the_counts_say(wire: int) -> None:
    circuit = Circuit(4, Ansatz("RY", "none"))
    built = to_qiskit(circuit, torch.zeros(circuit.angle_shape()), one_wire_flipped(wire, 4))
    counts = run_aer([built], seed=1)
    text = ["0"] * 4
    text[3 - wire] = "1"
    assert counts == [{"".join(text): SHOTS}]
    expected = [-1.0 if other == wire else 1.0 for other in range(4)]
    assert values_from_counts(circuit, counts).tolist() == expected


def test_one_wire_reflects_as_well() -> None:
    circuit = Circuit(1, Ansatz("RY", "none", 2, reuploading=True))
    x, angles = drawn(circuit, 2)
    state = Statevector(to_qiskit(circuit, angles, x, measured=False)).data
    expected = statevector(x, angles, circuit)[0]
    assert abs(state - expected.numpy()).max() < 1e-12


def test_the_preparation_may_be_left_out() -> None:
    circuit = Circuit(3)
    names = to_qiskit(circuit, torch.zeros(circuit.angle_shape())).count_ops()
    assert dict(names) == {"ry": 3, "cx": 3, "measure": 3}


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit", None)
    circuit = Circuit(2)
    with pytest.raises(MissingExtraError, match=r"pip install 'amplitune\[quantum\]'"):
        to_qiskit(circuit, torch.zeros(circuit.angle_shape()))
    # Bad input is refused before the package is looked for.
    with pytest.raises(ConfigError, match="`basis`"):
        to_qiskit(circuit, torch.zeros(circuit.angle_shape()), basis=1)
