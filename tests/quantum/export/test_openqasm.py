"""OpenQASM 3: it parses, and what it says is the circuit, wire by wire."""

import pytest
import qiskit.qasm3
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, Statevector
from tests.quantum.export.cases import FAMILY, READOUTS, SIZE, drawn, one_wire_flipped, readout_circuit
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.bases import bases_of
from amplitune.quantum.export import to_openqasm3, to_qiskit


def state_of(built: QuantumCircuit) -> Tensor:
    """The final state with qubit 0 as the most significant bit."""
    return torch.from_numpy(Statevector(built).reverse_qargs().data.copy())


def parsed(program: str) -> QuantumCircuit:
    return qiskit.qasm3.loads(program)


def test_every_circuit_of_the_family_with_its_state_preparation() -> None:
    visited = 0
    for index, circuit in enumerate(FAMILY):
        x, angles = drawn(circuit, 7, seed=index)
        state = state_of(parsed(to_openqasm3(circuit, angles, x, measured=False)))
        expected = statevector(x, angles, circuit)[0].to(torch.complex128)
        assert (state - expected).abs().max() < 1e-12, circuit
        visited += 1
    assert visited == SIZE


def test_the_unitary_alone_is_that_of_the_circuit_built_in_qiskit() -> None:
    visited = 0
    for circuit in FAMILY:
        if not circuit.ansatz.reuploading:
            _, angles = drawn(circuit, 7)
            program = to_openqasm3(circuit, angles, measured=False)
            built = to_qiskit(circuit, angles, measured=False)
            # Equal, not only up to a global phase.
            assert abs(Operator(parsed(program)).data - Operator(built).data).max() < 1e-14
            visited += 1
    assert visited == SIZE // 2


@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_a_measured_program_ends_in_the_basis_of_its_words(readout: str | tuple[str, ...]) -> None:
    circuit = readout_circuit(readout)
    x, angles = drawn(circuit, 13)
    values = expectation(x, angles, circuit)
    wires = 5 if readout == "interferometric" else 4
    read = set()
    for index, basis in enumerate(bases_of(circuit)):
        program = to_openqasm3(circuit, angles, x, basis=index)
        built = parsed(program)
        assert [(m.qubits[0]._index, m.clbits[0]._index) for m in built if m.name == "measure"] == [
            (wire, wire) for wire in range(wires)
        ]
        built.remove_final_measurements()
        probabilities = state_of(built).abs().square().reshape((2,) * wires)
        if readout == "probabilities":
            assert torch.allclose(probabilities.flatten(), values, atol=1e-12)
        for k in basis.words:
            sign = torch.ones(())
            for wire in range(wires):
                if acts_on(circuit, k, wire):
                    shape = [1] * wires
                    shape[wire] = 2
                    sign = sign * torch.tensor([1.0, -1.0]).reshape(shape)
            assert abs(float((probabilities * sign).sum()) - float(values[k])) < 1e-12
            read.add(k)
    assert len(read) == len(circuit.observables)


def acts_on(circuit: Circuit, k: int, wire: int) -> bool:
    """Whether word k has a letter on a wire of the device."""
    if wire == circuit.n_qubits:
        return True
    word = circuit.observables[k]
    return bool((word.x | word.z) >> (circuit.n_qubits - 1 - wire) & 1)


@pytest.mark.parametrize("wire", range(4))
def test_each_wire_is_its_own_qubit(wire: int) -> None:
    circuit = Circuit(4, Ansatz("RY", "none"))
    program = to_openqasm3(
        circuit, torch.zeros(circuit.angle_shape()), one_wire_flipped(wire, 4), measured=False
    )
    expected = one_wire_flipped(wire, 4).to(torch.complex128) / 3
    assert torch.allclose(state_of(parsed(program)), expected, atol=1e-12)
    assert f"ry(0.0) q[{wire}];" in program


def test_angles_keep_every_digit() -> None:
    angles = torch.tensor([[[1e-17, 1 / 3, -2.0e20]]], dtype=torch.float64)
    built = parsed(to_openqasm3(Circuit(3, Ansatz("RY", "none")), angles, measured=False))
    assert [float(step.operation.params[0]) for step in built] == angles.flatten().tolist()


def test_a_program_is_the_same_each_time() -> None:
    circuit = readout_circuit("Z")
    x, angles = drawn(circuit, 13)
    assert to_openqasm3(circuit, angles, x) == to_openqasm3(circuit, angles[0], x.clone())


@pytest.mark.parametrize(
    ("circuit", "x", "basis", "message"),
    [
        (readout_circuit("XYZ"), None, None, "`basis` must be an integer from 0 to 2"),
        (readout_circuit("XYZ"), None, 3, "but is 3"),
        (readout_circuit("Z"), None, True, "but is True"),
        (Circuit(3, Ansatz(depth=2, reuploading=True)), None, None, "`x` must be given with reuploading"),
        (Circuit(3), torch.zeros(8), None, "`x` must be finite and not all zero"),
        (Circuit(3), torch.ones(9), None, "`n_qubits` must be at least"),
    ],
)
def test_misuse(circuit: Circuit, x: Tensor | None, basis: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        to_openqasm3(circuit, torch.zeros(circuit.angle_shape()), x, basis=basis)
