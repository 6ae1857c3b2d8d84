"""Readouts: how many words each has, and in which order."""

import pytest

from amplitune.quantum.pauli import PauliWord
from amplitune.quantum.readout import NAMES, observables

# Written out by hand for three wires.
EXPECTED = {
    "Z": ["Z0", "Z1", "Z2"],
    "Z+ZZ": ["Z0", "Z1", "Z2", "Z0 Z1", "Z0 Z2", "Z1 Z2"],
    "XYZ": ["X0", "X1", "X2", "Y0", "Y1", "Y2", "Z0", "Z1", "Z2"],
    "probabilities": [],
    "interferometric": ["Z0", "Z1", "Z2"],
}


def test_every_readout_is_expected() -> None:
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.parametrize("readout", EXPECTED)
def test_a_readout_lists_its_words_in_order(readout: str) -> None:
    assert [word.text(3) for word in observables(readout, 3)] == EXPECTED[readout]


def test_pauli_words_stay_in_the_users_order() -> None:
    words = observables(("Z1 X0", "Y2"), 3)
    assert words == (PauliWord(x=0b100, z=0b010), PauliWord(x=0b001, z=0b001))
