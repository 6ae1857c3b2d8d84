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


def run_pennylane(x: Tensor, angles: Tensor, circuit: Circuit) -> tuple[Tensor, Tensor]:
    """Run rows x (rows, features) with angles (circuits, depth, rotations, n_qubits) on default.qubit.

    Returns expectation values (rows, circuits * n) and states (rows, circuits, 2**n).
    """
    n, ansatz = circuit.n_qubits, circuit.ansatz

    @qml.qnode(qml.device("default.qubit", wires=n), interface="torch", diff_method="backprop")
    def run(one: Tensor) -> list[Any]:
        qml.AmplitudeEmbedding(x, wires=range(n), pad_with=0.0, normalize=True)
        for layer in range(ansatz.depth):
            for wire in range(n):
                PENNYLANE_ROTATIONS[ansatz.rotation](one[layer, :, wire], wire)
            for control, target in PENNYLANE_ENTANGLERS[ansatz.entangler](n):
                qml.CNOT(wires=[control, target])
        return [qml.state(), *(qml.expval(qml.PauliZ(wire)) for wire in range(n))]

    states, values = [], []
    for one in angles:
        state, *expectations = run(one)
        states.append(state)
        values.extend(expectations)
    return torch.stack(values, dim=-1), torch.stack(states, dim=1)


@pytest.fixture(scope="session")
def pennylane() -> Reference:
    """PennyLane's expectation values and states of a batch of rows."""
    return run_pennylane
