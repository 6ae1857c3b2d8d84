"""Pauli words against dense matrices: what they are, and what they become before CNOT and CZ."""

import pennylane as qml
import pytest
import torch
from torch import Tensor

from amplitune.quantum.pauli import PauliWord

N = 3
WORDS = [PauliWord(x, z, sign) for x in range(8) for z in range(8) for sign in (1, -1)]
PAIRS = [(0, 1), (1, 0), (0, 2), (2, 1)]


def dense(word: PauliWord) -> Tensor:
    """The matrix, from PennyLane's Pauli matrices by the word's text."""
    text = word.text(N)
    matrix = torch.eye(2**N, dtype=torch.complex128)
    for factor in text.removeprefix("-").split():
        if factor != "I":
            pauli = {"X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}[factor[0]](int(factor[1:]))
            matrix = matrix @ torch.as_tensor(qml.matrix(pauli, wire_order=range(N)), dtype=torch.complex128)
    return -matrix if text.startswith("-") else matrix


def defined(word: PauliWord) -> Tensor:
    """The matrix, from the definition by masks."""
    matrix = torch.zeros(2**N, 2**N, dtype=torch.complex128)
    for i in range(2**N):
        j = i ^ word.x
        matrix[i, j] = word.sign * 1j ** (word.x & word.z).bit_count() * (-1) ** (j & word.z).bit_count()
    return matrix


def test_the_definition_by_masks_is_the_product_of_pauli_matrices() -> None:
    for word in WORDS:
        assert torch.equal(dense(word), defined(word)), word
    assert len(WORDS) == 128


@pytest.mark.parametrize("name", ["CNOT", "CZ"])
@pytest.mark.parametrize("pair", PAIRS)
def test_conjugation_equals_the_dense_product(name: str, pair: tuple[int, int]) -> None:
    gate = getattr(qml, name)(wires=list(pair))
    unitary = torch.as_tensor(qml.matrix(gate, wire_order=range(N))).to(torch.complex128)
    for word in WORDS:
        before = (word.before_cnot if name == "CNOT" else word.before_cz)(*pair, N)
        assert torch.equal(defined(before), unitary.mH @ defined(word) @ unitary), word


def test_text_and_parse_are_inverse() -> None:
    visited = 0
    for word in WORDS:
        if word.sign == 1 and word.x | word.z:
            assert PauliWord.parse(word.text(N), N) == word
            visited += 1
    assert visited == 63
