"""The ansatz: its tables, and entanglers as permutations against dense products of CNOT matrices."""

import pennylane as qml
import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz
from amplitune.quantum.ansatz import ENTANGLERS, destinations

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


@pytest.mark.parametrize("entangler", EXPECTED_WIRES)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_destinations_equal_the_product_of_dense_cnot_matrices(entangler: str, n: int) -> None:
    expected = torch.eye(2**n, dtype=torch.float64)
    for control, target in EXPECTED_WIRES[entangler][n]:
        gate = qml.matrix(qml.CNOT(wires=[control, target]), wire_order=range(n))
        expected = torch.as_tensor(gate, dtype=torch.float64) @ expected
    found = torch.eye(2**n, dtype=torch.float64)[destinations(entangler, n)].T
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("rotation", "rotations", "is_real"), [("RY", 1, True), ("RYRZ", 2, False), ("Rot", 3, False)]
)
def test_rotations_and_arithmetic(rotation: str, rotations: int, is_real: bool) -> None:
    ansatz = Ansatz(rotation, "ring", depth=2)
    assert ansatz.rotations == rotations
    assert ansatz.is_real is is_real


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
        ({"entangler": ["ring"]}, r"`entangler` must be one of"),
        ({"depth": 0}, r"`depth` must be an integer of at least 1, but is 0"),
        ({"depth": 1.0}, r"`depth` must be an integer of at least 1, but is 1.0"),
        ({"depth": True}, r"`depth` must be an integer of at least 1, but is True"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ansatz(**arguments)  # type: ignore[arg-type]
