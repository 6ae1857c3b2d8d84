"""PennyLane's default.qubit as the reference of the circuit engine."""

from collections.abc import Callable
from typing import Any

import pennylane as qml
import pytest
import torch
from torch import Tensor

from amplitune.quantum import Circuit

#: PennyLane's gates of a rotation, from the angles (rotations,) of one wire.
PENNYLANE_ROTATIONS: dict[str, Callable[[Tensor, int], Any]] = {
    "RY": lambda angles, wire: qml.RY(angles[0], wires=wire),
    "RYRZ": lambda angles, wire: (qml.RY(angles[0], wires=wire), qml.RZ(angles[1], wires=wire)),
    "Rot": lambda angles, wire: qml.Rot(angles[0], angles[1], angles[2], wires=wire),
}


def _ring(n: int) -> list[tuple[int, int]]:
    return [] if n == 1 else [(wire, (wire + 1) % n) for wire in range(n)]


#: CNOT gates of an entangler, written apart from amplitune's own table.
PENNYLANE_ENTANGLERS: dict[str, Callable[[int], list[tuple[int, int]]]] = {
    "ring": _ring,
    "linear": lambda n: [(wire, wire + 1) for wire in range(n - 1)],
    "all-to-all": lambda n: [(i, j) for i in range(n) for j in range(i + 1, n)],
    "none": lambda n: [],
}

Reference = Callable[[Tensor, Tensor, Circuit], tuple[Tensor, Tensor]]

ANCILLA = "ancilla"


def pairs_of(circuit: Circuit) -> list[tuple[int, int]]:
    """The wire pairs of a circuit's entangler, by this file's own table."""
    entangler = circuit.ansatz.entangler
    if isinstance(entangler, str):
        return PENNYLANE_ENTANGLERS[entangler](circuit.n_qubits)
    return list(entangler)


def readout_of(circuit: Circuit) -> list[Any]:
    """PennyLane's measurements of a circuit's readout."""
    n, readout = circuit.n_qubits, circuit.readout
    if readout == "probabilities":
        return [qml.probs(wires=range(n))]
    if readout == "interferometric":
        return [qml.expval(qml.PauliX(ANCILLA) @ qml.PauliZ(wire)) for wire in range(n)]
    paulis = {"X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
    words = {
        "Z": [f"Z{wire}" for wire in range(n)],
        "Z+ZZ": [f"Z{wire}" for wire in range(n)] + [f"Z{i} Z{j}" for i in range(n) for j in range(i + 1, n)],
        "XYZ": [f"{letter}{wire}" for letter in "XYZ" for wire in range(n)],
    }.get(readout, readout)  # type: ignore[arg-type]
    observables = [[paulis[factor[0]](int(factor[1:])) for factor in word.split()] for word in words]
    return [qml.expval(qml.prod(*factors) if len(factors) > 1 else factors[0]) for factors in observables]


def run_pennylane(x: Tensor, angles: Tensor, circuit: Circuit) -> tuple[Tensor, Tensor]:
    """Run rows x (rows, features) with angles (circuits, depth, rotations, n_qubits) on default.qubit.

    Returns values (rows, circuits * m) and states (rows, circuits, 2**n), with the ancilla if there is one.
    """
    n, ansatz = circuit.n_qubits, circuit.ansatz
    before = len(ansatz.gates) - len(ansatz.gates_after)
    gate = {"CNOT": qml.CNOT, "CZ": qml.CZ}[ansatz.entangling_gate]
    interferometric = circuit.readout == "interferometric"
    wires = [*([ANCILLA] if interferometric else []), *range(n)]
    encoded = torch.nn.functional.pad(x, (0, 2**n - x.shape[-1]))
    encoded = encoded / encoded.norm(dim=-1, keepdim=True)

    @qml.qnode(qml.device("default.qubit", wires=wires), interface="torch", diff_method="backprop")
    def run(one: Tensor) -> list[Any]:
        if interferometric:
            reference = torch.full_like(encoded, 2 ** (-n / 2))
            qml.StatePrep(torch.cat((encoded, reference), dim=-1) / 2**0.5, wires=wires)
        else:
            qml.AmplitudeEmbedding(x, wires=range(n), pad_with=0.0, normalize=True)
        for layer in range(ansatz.depth):
            if layer and ansatz.reuploading:
                outer = encoded[:, :, None] * encoded[:, None, :]
                reflection = torch.eye(2**n, dtype=x.dtype) - 2 * outer
                qml.QubitUnitary(reflection.to(torch.complex128), wires=range(n), unitary_check=False)
            for wire in range(n):
                PENNYLANE_ROTATIONS[ansatz.rotation](one[layer, :before, wire], wire)
            for pair in pairs_of(circuit):
                gate(wires=list(pair))
            if ansatz.rotation_after != "none":
                for wire in range(n):
                    PENNYLANE_ROTATIONS[ansatz.rotation_after](one[layer, before:, wire], wire)
        return [qml.state(), *readout_of(circuit)]

    states, values = [], []
    for one in angles:
        state, *measured = run(one)
        states.append(state)
        block = measured[0] if circuit.readout == "probabilities" else torch.stack(measured, dim=-1)
        values.append(block * (x.norm(dim=-1, keepdim=True) if circuit.norm == "restore" else 1))
    return torch.cat(values, dim=-1), torch.stack(states, dim=1)


@pytest.fixture(scope="session")
def pennylane() -> Reference:
    """PennyLane's values and states of a batch of rows."""
    return run_pennylane
