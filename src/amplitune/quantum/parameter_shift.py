"""The parameter-shift rule: gradients of a circuit's values from its values at shifted angles."""

from collections.abc import Callable
from itertools import product
from math import pi

import torch
from torch import Tensor


def parameter_shift(values: Callable[[Tensor], Tensor], angles: Tensor, grad_z: Tensor) -> Tensor:
    """Take a gradient with respect to angles from values alone, which a quantum computer can measure.

        dz/dtheta = (z(theta + pi/2) - z(theta - pi/2)) / 2

    The rule is exact for angles of RY and RZ, whose generators have the eigenvalues +1/2 and -1/2. Circuits
    that run in parallel are shifted together; so there are two evaluations for each angle of one circuit. If
    `values` is an unbiased estimate, so is the gradient.

    Args:
        values: maps angles to z, shape (tokens, circuits * m), the values of the first circuit first.
        angles: radians, shape (circuits, depth, rotations, n_qubits).
        grad_z: dL/dz, shape (tokens, circuits * m).

    Returns:
        dL/dangles, shape of `angles`.

    Source:
        Schuld, Bergholm, Gogolin, Izaac and Killoran, arXiv 1811.11184.

    Example:
        >>> from amplitune.quantum import Circuit, expectation
        >>> x, circuit = torch.tensor([[1.0, 2.0, 3.0]]), Circuit(2)
        >>> angles = torch.zeros(circuit.angle_shape(), requires_grad=True)
        >>> z = expectation(x, angles, circuit)
        >>> exact, = torch.autograd.grad(z.sum(), angles)
        >>> rule = parameter_shift(lambda at: expectation(x, at, circuit), angles, torch.ones_like(z))
        >>> torch.allclose(exact, rule, atol=1e-6)
        True
    """
    angles = angles.detach()
    gradient = torch.zeros_like(angles)
    for layer, row, wire in product(*map(range, angles.shape[1:])):
        shift = torch.zeros_like(angles)
        shift[:, layer, row, wire] = pi / 2
        slope = (values(angles + shift) - values(angles - shift)) / 2
        each = (grad_z * slope).unflatten(-1, (angles.shape[0], -1))
        gradient[:, layer, row, wire] = each.sum(dim=(0, 2)).to(angles.dtype)
    return gradient
