"""Quantum gates: rotations as matrices of their angle, CNOT as a permutation of basis states."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gate:
    """A single-qubit gate with one angle.

    Args:
        name: the field's name for it.
        is_real: whether its matrix is real for every angle.
        matrix: maps angles (radians), shape (...), to matrices, shape (..., 2, 2).
    """

    name: str
    is_real: bool
    matrix: Callable[[Tensor], Tensor]


def ry(angle: Tensor) -> Tensor:
    """Rotate about Y.

        RY(t) = exp(-i t Y / 2) = [[cos t/2, -sin t/2], [sin t/2, cos t/2]]

    Args:
        angle: radians, real, shape (...).

    Returns:
        Real matrices, shape (..., 2, 2).

    Example:
        >>> ry(torch.tensor(torch.pi)).round(decimals=6).abs()
        tensor([[0., 1.],
                [1., 0.]])
    """
    cos, sin = torch.cos(angle / 2), torch.sin(angle / 2)
    return torch.stack((cos, -sin, sin, cos), dim=-1).unflatten(-1, (2, 2))


def rz(angle: Tensor) -> Tensor:
    """Rotate about Z.

        RZ(t) = exp(-i t Z / 2) = [[e^(-i t/2), 0], [0, e^(i t/2)]]

    Args:
        angle: radians, real, shape (...).

    Returns:
        Complex matrices, shape (..., 2, 2).

    Example:
        >>> rz(torch.tensor(torch.pi)).angle() / torch.pi
        tensor([[-0.5000,  0.0000],
                [ 0.0000,  0.5000]])
    """
    cos, sin = torch.cos(angle / 2), torch.sin(angle / 2)
    zero = torch.zeros_like(cos)
    real = torch.stack((cos, zero, zero, cos), dim=-1)
    imaginary = torch.stack((-sin, zero, zero, sin), dim=-1)
    return torch.complex(real, imaginary).unflatten(-1, (2, 2))


def as_complex(matrix: Tensor) -> Tensor:
    """Give a real matrix the complex dtype of its precision; a complex one stays as it is.

    Args:
        matrix: any shape.

    Returns:
        Complex, same shape.
    """
    return matrix if matrix.is_complex() else torch.complex(matrix, torch.zeros_like(matrix))


def dagger(matrix: Tensor) -> Tensor:
    """Transpose and conjugate.

    Not `.mH`: its conjugation is lazy, and inside an operator that a compiled graph calls nobody resolves it.

    Args:
        matrix: real or complex, shape (..., r, s).

    Returns:
        Shape (..., s, r).
    """
    return matrix.mT.conj_physical() if matrix.is_complex() else matrix.mT


RY = Gate("RY", is_real=True, matrix=ry)
RZ = Gate("RZ", is_real=False, matrix=rz)


def cnot(states: Tensor, control: int, target: int, n_qubits: int) -> Tensor:
    """Map basis states through a CNOT.

        |..., c, ..., t, ...> -> |..., c, ..., t XOR c, ...>

    Args:
        states: indices of basis states, integer, any shape; wire 0 is the most significant bit.
        control: control wire.
        target: target wire, another one.
        n_qubits: number of wires.

    Returns:
        The indices they are sent to, same shape.

    Example:
        >>> cnot(torch.arange(4), control=0, target=1, n_qubits=2)
        tensor([0, 1, 3, 2])
    """
    bit = (states >> (n_qubits - 1 - control)) & 1
    return states ^ (bit << (n_qubits - 1 - target))


def kron(factors: list[Tensor]) -> Tensor:
    """Multiply batches of matrices by the Kronecker product, the first one on the most significant bits.

    Args:
        factors: at least one batch of matrices, shapes (..., r_i, r_i).

    Returns:
        Matrices, shape (..., r, r) with r the product of the r_i.

    Example:
        >>> kron([torch.tensor([[0, 1], [1, 0]]), torch.eye(2, dtype=torch.int64)])
        tensor([[0, 0, 1, 0],
                [0, 0, 0, 1],
                [1, 0, 0, 0],
                [0, 1, 0, 0]])
    """
    product = factors[0]
    for factor in factors[1:]:
        blocks = product[..., :, None, :, None] * factor[..., None, :, None, :]
        product = blocks.flatten(-2, -1).flatten(-3, -2)
    return product
