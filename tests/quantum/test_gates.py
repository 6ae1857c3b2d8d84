"""Gates against dense matrices from their definitions."""

import pytest
import torch
from torch import Tensor

from amplitune.quantum.ansatz import ROTATIONS
from amplitune.quantum.gates import RY, RZ, Gate, cnot, kron

PAULI = {
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}
GENERATORS = [(RY, "Y"), (RZ, "Z")]


def test_every_gate_of_a_rotation_is_tested() -> None:
    gates = {gate for gates in ROTATIONS.values() for gate in gates}
    assert gates == {gate for gate, _ in GENERATORS}
    assert len(ROTATIONS) == 3


@pytest.mark.parametrize(
    ("gate", "generator"), GENERATORS, ids=lambda value: str(getattr(value, "name", value))
)
def test_rotation_is_the_exponential_of_its_generator(gate: Gate, generator: str) -> None:
    angles = torch.tensor([0.0, 0.3, -1.7, torch.pi, 5.0, -40.0], dtype=torch.float64)
    expected = torch.linalg.matrix_exp(-0.5j * angles[:, None, None] * PAULI[generator])
    found = gate.matrix(angles)
    assert gate.is_real != found.is_complex()
    torch.testing.assert_close(found.to(torch.complex128), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("gate", [RY, RZ], ids=lambda gate: str(gate.name))
def test_matrices_keep_the_shape_and_precision_of_the_angles(gate: Gate) -> None:
    assert gate.matrix(torch.zeros(4, 1, 3)).shape == (4, 1, 3, 2, 2)
    assert gate.matrix(torch.zeros((), dtype=torch.float64)).abs().dtype == torch.float64


def dense_cnot(control: int, target: int, n: int) -> Tensor:
    """The matrix of a CNOT from projectors: |0><0| (x) 1 + |1><1| (x) X."""
    identity = torch.eye(2, dtype=torch.float64)
    zero, one = torch.diag(identity[0]), torch.diag(identity[1])
    flip = torch.tensor([[0, 1], [1, 0]], dtype=torch.float64)

    def product(factors: dict[int, Tensor]) -> Tensor:
        matrix = torch.ones(1, 1, dtype=torch.float64)
        for wire in range(n):
            matrix = torch.kron(matrix, factors.get(wire, identity))
        return matrix

    return product({control: zero}) + product({control: one, target: flip})


@pytest.mark.parametrize(("control", "target", "n"), [(0, 1, 2), (1, 0, 2), (0, 2, 3), (2, 1, 3), (3, 0, 5)])
def test_cnot_equals_its_dense_matrix(control: int, target: int, n: int) -> None:
    images = cnot(torch.arange(2**n), control, target, n)
    permutation = torch.eye(2**n, dtype=torch.float64)[images].T
    torch.testing.assert_close(permutation, dense_cnot(control, target, n), rtol=0, atol=0)


def test_kron_equals_torch_kron_for_batches() -> None:
    factors = [torch.randn(3, size, size, dtype=torch.float64) for size in (2, 4, 2)]
    found = kron(factors)
    assert found.shape == (3, 16, 16)
    for batch in range(3):
        expected = torch.kron(torch.kron(factors[0][batch], factors[1][batch]), factors[2][batch])
        torch.testing.assert_close(found[batch], expected, rtol=0, atol=1e-15)
