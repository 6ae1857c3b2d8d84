"""The ansatz: its tables, its sizes, and what it refuses."""

import pytest

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz
from amplitune.quantum.ansatz import ENTANGLERS

# Written out by hand, for an independent statement of the order.
EXPECTED_WIRES: dict[str, dict[int, list[tuple[int, int]]]] = {
    "ring": {1: [], 2: [(0, 1), (1, 0)], 4: [(0, 1), (1, 2), (2, 3), (3, 0)]},
    "linear": {1: [], 2: [(0, 1)], 4: [(0, 1), (1, 2), (2, 3)]},
    "all-to-all": {1: [], 2: [(0, 1)], 4: [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]},
    "none": {1: [], 2: [], 4: []},
}


def test_every_entangler_has_its_expected_gates() -> None:
    assert set(EXPECTED_WIRES) == set(ENTANGLERS)
    assert len(ENTANGLERS) == 4


@pytest.mark.parametrize("entangler", EXPECTED_WIRES)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_entangler_lists_its_gates_in_order(entangler: str, n: int) -> None:
    assert list(ENTANGLERS[entangler](n)) == EXPECTED_WIRES[entangler][n]


@pytest.mark.parametrize(
    ("rotation", "rotations", "is_real"), [("RY", 1, True), ("RYRZ", 2, False), ("Rot", 3, False)]
)
def test_rotations_and_arithmetic(rotation: str, rotations: int, is_real: bool) -> None:
    ansatz = Ansatz(rotation, "ring", depth=2)
    assert ansatz.rotations == rotations
    assert ansatz.is_real is is_real


def test_rotations_after_the_entangler_are_further_rows() -> None:
    ansatz = Ansatz("RY", "ring", rotation_after="Rot")
    assert [gate.name for gate in ansatz.gates] == ["RY", "RZ", "RY", "RZ"]
    assert [gate.name for gate in ansatz.gates_after] == ["RZ", "RY", "RZ"]
    assert not ansatz.is_real
    assert Ansatz("RY", "ring", rotation_after="RY", entangling_gate="CZ").is_real


def test_the_users_own_pairs_are_kept_in_order_as_tuples() -> None:
    ansatz = Ansatz(entangler=[[2, 0], [0, 1], [2, 0]])  # type: ignore[arg-type]
    assert ansatz.pairs(3) == ((2, 0), (0, 1), (2, 0))
    assert ansatz == Ansatz(entangler=((2, 0), (0, 1), (2, 0)))
    assert hash(ansatz) == hash(Ansatz(entangler=((2, 0), (0, 1), (2, 0))))


def test_ansatz_is_an_immutable_value() -> None:
    assert Ansatz() == Ansatz("RY", "ring", depth=1)
    assert len({Ansatz("RY", "ring", 1), Ansatz("RY", "ring", 1), Ansatz("RY", "ring", 2)}) == 2
    with pytest.raises(AttributeError):
        Ansatz().depth = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotation": "ry"}, r"`rotation` must be one of 'RY', 'RYRZ', 'Rot', but is 'ry'"),
        ({"rotation": None}, r"`rotation` must be one of .*, but is None"),
        ({"entangler": "circle"}, r"`entangler` must be one of 'ring', .*, but is 'circle'"),
        ({"entangler": "liner"}, r"Did you mean 'linear'\?"),
        ({"entangler": "liner"}, r"or a list of wire pairs, but is 'liner'"),
        ({"entangler": None}, r"`entangler` must be one of .*, but is None"),
        ({"entangler": ["ring"]}, r"`entangler` must hold pairs of two different wires, but has 'ring'"),
        ({"entangler": [[0, 0]]}, r"`entangler` must hold pairs of two different wires, but has \[0, 0\]"),
        ({"entangler": [[0, -1]]}, r"`entangler` must hold pairs"),
        ({"entangler": [[0, True]]}, r"`entangler` must hold pairs"),
        ({"entangling_gate": "CX"}, r"`entangling_gate` must be one of 'CNOT', 'CZ', but is 'CX'"),
        (
            {"rotation_after": "ry"},
            r"`rotation_after` must be one of 'none', 'RY', 'RYRZ', 'Rot', but is 'ry'",
        ),
        ({"reuploading": 1}, r"`reuploading` must be true or false, but is 1"),
        ({"reuploading": True}, r"`depth` must be at least 2 with reuploading"),
        ({"depth": 0}, r"`depth` must be an integer of at least 1, but is 0"),
        ({"depth": 1.0}, r"`depth` must be an integer of at least 1, but is 1.0"),
        ({"depth": True}, r"`depth` must be an integer of at least 1, but is True"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ansatz(**arguments)  # type: ignore[arg-type]
