"""Programs: merged blocks, what stands between them, and entanglers against dense products of gates."""

from itertools import product

import pennylane as qml
import pytest
import torch

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.ansatz import ENTANGLERS, ENTANGLING_GATES
from amplitune.quantum.program import block_parameters, destinations, program_of, signs, sources


@pytest.mark.parametrize(("entangler", "gate", "n"), [*product(ENTANGLERS, ENTANGLING_GATES, (1, 2, 4))])
def test_entanglers_equal_the_product_of_dense_gates(entangler: str, gate: str, n: int) -> None:
    pairs = ENTANGLERS[entangler](n)
    expected = torch.eye(2**n, dtype=torch.float64)
    for pair in pairs:
        dense = qml.matrix(getattr(qml, gate)(wires=list(pair)), wire_order=range(n))
        expected = torch.as_tensor(dense).real.to(expected) @ expected
    identity = torch.eye(2**n, dtype=torch.float64)
    found = signs(pairs, gate, n)[:, None] * identity[sources(pairs, gate, n)]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    moved = torch.zeros_like(identity)
    moved[destinations(pairs, gate, n), torch.arange(2**n)] = 1.0
    torch.testing.assert_close(moved, expected.abs(), rtol=0, atol=0)


# rotation, rotation_after, depth, reuploading -> rows of each block, what stands between, whether E is folded
FORMS = [
    (Ansatz("RY", depth=1), [[(0, 0)]], (), True),
    (Ansatz("RYRZ", depth=2), [[(0, 0), (0, 1)], [(1, 0), (1, 1)]], ("E",), True),
    (
        Ansatz("RY", depth=2, rotation_after="RY"),
        [[(0, 0)], [(0, 1), (1, 0)], [(1, 1)]],
        ("E", "E"),
        False,
    ),
    (Ansatz("RY", depth=2, reuploading=True), [[(0, 0)], [(1, 0)]], ("EV",), True),
    (
        Ansatz("RY", depth=2, rotation_after="RY", reuploading=True),
        [[(0, 0)], [(0, 1)], [(1, 0)], [(1, 1)]],
        ("E", "V", "E"),
        False,
    ),
]


@pytest.mark.parametrize(("ansatz", "rows", "between", "folded"), FORMS)
def test_neighbouring_rotations_are_one_block(
    ansatz: Ansatz, rows: list[list[tuple[int, int]]], between: tuple[str, ...], folded: bool
) -> None:
    program = program_of(Circuit(3, ansatz))
    assert [list(block) for block in program.rows] == rows
    assert program.between == between
    assert program.folded is folded
    assert len(program.between) == program.blocks - 1


def test_angles_of_neighbouring_ry_gates_add_up() -> None:
    circuit = Circuit(3, Ansatz("RY", depth=2, rotation_after="RY"))
    angles = torch.arange(12.0).view(circuit.angle_shape())
    expected = torch.stack((angles[:, 0, 0], angles[:, 0, 1] + angles[:, 1, 0], angles[:, 1, 1]), dim=1)
    assert torch.equal(block_parameters(angles, circuit), expected)


def test_unitaries_of_a_complex_block_multiply_in_order() -> None:
    circuit = Circuit(2, Ansatz("RYRZ", depth=1, rotation_after="RY"))
    angles = torch.randn(
        circuit.angle_shape(), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    found = block_parameters(angles, circuit)
    assert found.shape == (1, 2, 2, 2, 2)
    for wire in range(2):
        ry, rz = (
            qml.matrix(gate(float(angles[0, 0, row, wire]), wires=0))
            for row, gate in enumerate((qml.RY, qml.RZ))
        )
        torch.testing.assert_close(found[0, 0, wire], torch.as_tensor(rz @ ry), rtol=0, atol=1e-15)
