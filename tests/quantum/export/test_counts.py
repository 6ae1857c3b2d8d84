"""Values from counts: each wire's bit, several bases, and what is refused."""

import pytest

from amplitune.errors import ConfigError
from amplitune.quantum import Circuit
from amplitune.quantum.export import values_from_counts


def test_several_bases_are_read_each_from_its_own_counts() -> None:
    circuit = Circuit(2, readout=("Z0", "X0 Z1", "Z0 Z1"))
    # Bases ZZ with words 0 and 2, and XZ with word 1; the bit of wire 0 is the last.
    found = values_from_counts(circuit, [{"01": 3, "10": 1}, {"11": 1, "01": 1}])
    assert found.tolist() == [-0.5, 0.0, -1.0]


def test_probabilities_are_in_the_engines_order() -> None:
    found = values_from_counts(Circuit(2, readout="probabilities"), [{"01": 3, "10": 1}])
    assert found.tolist() == [0.0, 0.25, 0.75, 0.0]


def test_the_ancilla_is_the_first_character() -> None:
    circuit = Circuit(2, readout="interferometric")
    assert values_from_counts(circuit, [{"100": 1}]).tolist() == [-1.0, -1.0]
    assert values_from_counts(circuit, [{"001": 1}]).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([], "for each of the 1 measurement bases"),
        ([{}], "at least one shot"),
        ([{"00": 1}, {"00": 1}], "for each of the 1 measurement bases"),
        ([{"000": 1}], "keys of 2 characters"),
        ([{"0 0": 1}], "keys of 2 characters"),
        ([{"0x": 1}], "keys of 2 characters"),
    ],
)
def test_misuse(counts: list[dict[str, int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        values_from_counts(Circuit(2), counts)
