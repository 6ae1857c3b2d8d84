"""Readouts: eigenvalues, and signs pulled back through an entangler."""

import pennylane as qml
import pytest
import torch

from amplitune.quantum.ansatz import ENTANGLERS
from amplitune.quantum.readout import READOUTS, pauli_z, signs


@pytest.mark.parametrize("n", [1, 2, 5])
def test_pauli_z_eigenvalues_equal_the_dense_diagonals(n: int) -> None:
    found = pauli_z(n)
    assert found.shape == (n, 2**n)
    for wire in range(n):
        diagonal = torch.as_tensor(qml.matrix(qml.PauliZ(wire), wire_order=range(n))).diagonal().real
        assert torch.equal(found[wire].to(diagonal.dtype), diagonal)


def test_every_readout_declares_as_many_observables_as_it_has() -> None:
    assert len(READOUTS) == 1
    for readout in READOUTS.values():
        assert readout.eigenvalues(3).shape == (readout.n_observables(3), 8)


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_signs_are_the_observables_before_the_entangler(entangler: str) -> None:
    n = 4
    unitary = torch.eye(2**n, dtype=torch.complex128)
    for control, target in ENTANGLERS[entangler](n):
        unitary = (
            torch.as_tensor(qml.matrix(qml.CNOT(wires=[control, target]), wire_order=range(n))).to(unitary)
            @ unitary
        )
    table = signs("Z", entangler, n)
    assert table.shape == (n + 1, 2**n)
    assert (table[-1] == 1).all()
    for wire in range(n):
        observable = torch.as_tensor(qml.matrix(qml.PauliZ(wire), wire_order=range(n))).to(unitary)
        pulled_back = unitary.mH @ observable @ unitary
        assert torch.equal(pulled_back, torch.diag(table[wire].to(unitary.dtype)))
