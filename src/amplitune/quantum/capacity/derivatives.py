"""Exact derivatives by shifted angles: of states, and of readouts (the parameter-shift rule)."""

import math

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.expectation import expectation
from amplitune.quantum.statevector import statevector


def shifted(angles: Tensor, shift: float, which: slice = slice(None)) -> Tensor:
    """Shift one angle at a time.

    Args:
        angles: radians, shape (draws, depth, rotations, n_qubits).
        shift: radians.
        which: the angles to shift, counted through (depth, rotations, n_qubits) in their order.

    Returns:
        Shape (draws * shifted angles, depth, rotations, n_qubits), the angles of one draw side by side.
    """
    count = angles[0].numel()
    steps = shift * torch.eye(count, dtype=angles.dtype)[which].reshape(-1, *angles.shape[1:])
    return (angles[:, None] + steps).flatten(0, 1)


def state_derivatives(x: Tensor, angles: Tensor, circuit: Circuit) -> tuple[Tensor, Tensor]:
    """Give states and their derivatives by every angle.

        d psi / d theta_j = 1/2 psi(theta + pi e_j)

    because each angle stands in one gate exp(-i theta_j P / 2).

    Args:
        x: real, shape (rows, features).
        angles: radians, shape (draws, depth, rotations, n_qubits).
        circuit: the circuit; its readout is not used.

    Returns:
        psi, shape (rows, draws, 1, 2**n), and its derivatives, shape (rows, draws, angles, 2**n).
    """
    states = statevector(x, angles, circuit)
    slopes = statevector(x, shifted(angles, math.pi), circuit) / 2
    return states[:, :, None], slopes.unflatten(1, (len(angles), -1))


def readout_derivatives(x: Tensor, angles: Tensor, circuit: Circuit, which: slice = slice(None)) -> Tensor:
    """Give the derivatives of readouts by angles.

        d z_k / d theta_j = (z_k(theta + pi/2 e_j) - z_k(theta - pi/2 e_j)) / 2

    Exact for every readout and for re-uploading, because z is a + b cos(theta_j) + c sin(theta_j).

    Args:
        x: one row, real, shape (features,).
        angles: radians, shape (draws, depth, rotations, n_qubits).
        circuit: the circuit.
        which: the angles to differentiate by, counted through (depth, rotations, n_qubits).

    Returns:
        Shape (draws, m, angles).

    Source:
        Mitarai, Negoro, Kitagawa and Fujii, arXiv 1803.00745; Schuld et al., arXiv 1811.11184.

    Example:
        >>> angles = torch.full(Circuit(1).angle_shape(), torch.pi / 2, dtype=torch.float64)
        >>> readout_derivatives(torch.ones(1, dtype=torch.float64), angles, Circuit(1)).round(decimals=6)
        tensor([[[-1.]]], dtype=torch.float64)
    """
    ahead, behind = (expectation(x, shifted(angles, sign * math.pi / 2, which), circuit) for sign in (1, -1))
    values = (ahead - behind) / 2
    return values.reshape(len(angles), -1, circuit.n_observables).transpose(1, 2)
