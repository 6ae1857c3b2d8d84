"""The kernel of readouts that are linear in the input: one matrix product, and its gradients."""

import torch
from torch import Tensor

from amplitune.quantum.encoding import power_of_two_scale


def _scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows within the range of their squares, and their norms."""
    rows = x * power_of_two_scale(x, dtype)
    # Not vector_norm: its second derivative is not a number for a row of zeros.
    squared = rows.square().sum(dim=-1, keepdim=True)
    # Divided by infinity, the values of a row of zeros and their gradients are zero; divided by 1, the
    # gradients would be multiplied by the row's scale, 2**127.
    return rows, torch.where(squared == 0, torch.inf, torch.where(squared == 0, 1, squared).sqrt())


def forward(x: Tensor, functionals: Tensor, keeps_norm: bool) -> Tensor:
    """Apply linear functionals to encoded rows.

        z = f x, or f x / ||x||

    Args:
        x: real, shape (tokens, features).
        functionals: f in the compute dtype, shape (circuits * m, 2**n).
        keeps_norm: whether the norm stays.

    Returns:
        Shape (tokens, circuits * m); zeros for a row of zeros.
    """
    used = functionals[:, : x.shape[-1]].T
    if keeps_norm:
        return x.to(functionals.dtype) @ used
    rows, norm = _scaled(x, functionals.dtype)
    return (rows @ used) / norm


def backward(
    grad_z: Tensor, x: Tensor, functionals: Tensor, keeps_norm: bool, needs_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Take the gradients of `forward`.

    Args:
        grad_z: dL/dz, shape (tokens, circuits * m).
        x: real, shape (tokens, features).
        functionals: f, shape (circuits * m, 2**n).
        keeps_norm: whether the norm stays.
        needs_x: whether dL/dx is wanted.

    Returns:
        dL/dx in the dtype of `x`, or None; dL/df; and z once more.
    """
    dtype, features = functionals.dtype, x.shape[-1]
    used = functionals[:, :features]
    rows, norm = (x.to(dtype), None) if keeps_norm else _scaled(x, dtype)
    z = rows @ used.T
    if norm is not None:
        z, grad_z = z / norm, grad_z / norm
    dfunctionals = torch.nn.functional.pad(grad_z.T @ rows, (0, functionals.shape[-1] - features))
    if not needs_x:
        return None, dfunctionals, z
    drows = grad_z @ used
    if norm is not None:
        radial = (grad_z * z).sum(dim=-1, keepdim=True) / norm
        drows = (drows - radial * rows) * power_of_two_scale(x, dtype)
    return drows.to(x.dtype), dfunctionals, z
