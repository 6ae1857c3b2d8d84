"""The wires of a device: the ancilla's number, the labels of words, the change of basis."""

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Circuit
from amplitune.quantum.bases import Basis, bases_of
from amplitune.quantum.device_wires import basis_change, device_wires, labels

MATRICES = {
    "H": torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) / 2**0.5,
    "SDG": torch.diag(torch.tensor([1, -1j], dtype=torch.complex128)),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.diag(torch.tensor([1, -1], dtype=torch.complex128)),
}


@pytest.mark.parametrize("letter", "XYZ")
def test_the_change_of_basis_turns_a_letter_into_z(letter: str) -> None:
    change: Tensor = torch.eye(2, dtype=torch.complex128)
    for gate in basis_change(Basis(letter, (0,)), Circuit(1)):
        change = MATRICES[gate.name] @ change
    assert torch.allclose(change @ MATRICES[letter] @ change.mH, MATRICES["Z"], atol=1e-15)


def test_the_ancilla_is_the_last_wire_of_the_device() -> None:
    circuit = Circuit(2, readout="interferometric")
    assert device_wires(circuit) == (2, 0, 1)
    assert labels(circuit) == ["ZIX", "IZX"]
    assert [(gate.name, gate.wires) for gate in basis_change(bases_of(circuit)[0], circuit)] == [("H", (2,))]


def test_labels_name_each_wire() -> None:
    assert labels(Circuit(3, readout=("X0 Z2", "Y1"))) == ["XIZ", "IYI"]
    assert labels(Circuit(3, readout="probabilities")) == []
