"""What controls compute in the place of a circuit's expectation values."""

import math
from typing import Any

import torch
from torch import Tensor

from amplitune.quantum.encoding import encode
from amplitune.quantum.operators import norms

# Rows are scaled by `encode` to amplitudes of about 1, so that no square overflows; a row of zeros stays one.


def projection(x: Tensor, p: Tensor) -> Tensor:
    """Project rows.

        f(x) = P x

    Linear in x, so that the branch is a low-rank matrix with a fixed right factor.

    Args:
        x: real, shape (tokens, features), any float dtype.
        p: P, shape (columns, features), in the compute dtype.

    Returns:
        Shape (tokens, columns), in the dtype of `p`.
    """
    return x.to(p.dtype) @ p.T


def squares(x: Tensor, p: Tensor, n_qubits: int, *, keep_norm: bool = False) -> Tensor:
    """Project rows of norm 1 and square.

        f_k(x) = c (p_k . x)^2 / |x|^2,   c^2 = d (d + 2) D / ((D + 2) (D - 1)),   D = 2**n_qubits

    For a direction of x drawn uniformly in d dimensions, (p_k . x)^2 / |x|^2 has the variance
    2 (d - 1) / (d^2 (d + 2)). A Pauli word on the state U pad(x) / |x| has the variance
    2 D (d - 1) / (d (D + 2) (D - 1)) on average over orthogonal U, 2 / (D + 2) where d = D. c makes the
    former the latter: about sqrt(d). The mean is c / d, where a circuit's is 0; `b_up` can take it up.

    Args:
        x: real, shape (tokens, features), any float dtype.
        p: rows p_k of norm 1, shape (columns, features), in the compute dtype.
        n_qubits: qubits of the circuit that is replaced.
        keep_norm: multiply by |x|, as the circuit's `norm: restore`.

    Returns:
        Shape (tokens, columns), in the dtype of `p`; 0 for a row of zeros, with gradient 0.
    """
    rows = encode(x, p.dtype)
    d, amplitudes = x.shape[-1], 2**n_qubits
    scale = math.sqrt(d * (d + 2) * amplitudes / ((amplitudes + 2) * (amplitudes - 1)))
    values = (rows @ p.T).square() * (scale / _squared_norm(rows))
    return values * norms(x, p.dtype) if keep_norm else values


def givens(x: Tensor, angles: Tensor, orders: Tensor, signs: Tensor, *, keep_norm: bool = False) -> Tensor:
    """Mix amplitudes by learned rotations of pairs and read out signed sums of squares: the classical twin.

        z_k = sum_j s_kj (G a)_j^2,   a = pad(x) / |x|,   G = R(theta_L) Pi_L ... R(theta_1) Pi_1

    Pi_l brings the amplitudes into a fixed random order, which pairs amplitude j with j + D/2. R rotates all
    pairs by theta / 2, as RY does on one wire: ((c, -s), (s, c)), c = cos(theta / 2), s = sin(theta / 2). So
    a level turns the state as much as an RY gate does; which amplitudes are paired and which signs are read
    out, given by wires, CNOTs and Pauli words in a circuit, is random here.

    Args:
        x: real, shape (tokens, features), any float dtype.
        angles: theta, shape (circuits, levels), in the compute dtype.
        orders: indices, shape (circuits, levels, D).
        signs: s, +1 on half of each row and -1 on the other, shape (circuits, m, D), in the compute dtype.
        keep_norm: multiply by |x|, as the circuit's `norm: restore`.

    Returns:
        z, shape (tokens, circuits * m), in the dtype of `angles`; 0 for a row of zeros, with gradient 0.
    """
    amplitudes = encode(x, angles.dtype, multiple=orders.shape[-1])
    # Amplitudes first: a new order then moves whole rows of memory.
    columns = amplitudes.T.contiguous()
    values = [
        (signs[circuit] @ _Mix.apply(columns, angles[circuit], orders[circuit]).square()).T
        for circuit in range(len(angles))
    ]
    z = torch.cat(values, dim=-1) / _squared_norm(amplitudes)
    return z * norms(x, angles.dtype) if keep_norm else z


class _Mix(torch.autograd.Function):
    """G a on columns; orthogonal, so the backward pass undoes it and keeps one state, whatever the depth."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, angles: Tensor, orders: Tensor) -> Tensor:
        """Mix: state (D, tokens) -> (D, tokens)."""
        for angle, order in zip(angles, orders, strict=True):
            state = _rotated(state[order], angle)
        ctx.save_for_backward(state, angles, orders)
        return state

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Take the gradients of state and angles."""
        state, angles, orders = ctx.saved_tensors
        dangles = torch.empty_like(angles)
        for level in range(len(angles) - 1, -1, -1):
            upper, lower = state.chunk(2)
            grad_upper, grad_lower = grad.chunk(2)
            # d R(theta) / d theta = 1/2 K R(theta),  K (upper, lower) = (-lower, upper)
            dangles[level] = ((grad_lower * upper).sum() - (grad_upper * lower).sum()) / 2
            back = torch.argsort(orders[level])
            state = _rotated(state, -angles[level])[back]
            grad = _rotated(grad, -angles[level])[back]
        return grad, dangles, None


def _rotated(state: Tensor, angle: Tensor) -> Tensor:
    upper, lower = state.chunk(2)
    c, s = torch.cos(angle / 2), torch.sin(angle / 2)
    return torch.cat([c * upper - s * lower, s * upper + c * lower])


def _squared_norm(rows: Tensor) -> Tensor:
    """|row|^2, shape (tokens, 1); 1 for a row of zeros."""
    total = rows.square().sum(-1, keepdim=True)
    return torch.where(total == 0, 1, total)
