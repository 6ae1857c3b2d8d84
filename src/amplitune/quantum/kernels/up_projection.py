"""The up-projection of readouts, added to the output of a base layer in one pass over it."""

import torch
from torch import Tensor


def add_up_projection(base: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None, scaling: float) -> Tensor:
    """Project readouts up and add them.

        y = base + s (W z + b)

    Args:
        base: shape (tokens, d_out), any float dtype.
        z: readouts, shape (tokens, k).
        weight: W, shape (d_out, k).
        bias: b, shape (d_out,), or None.
        scaling: s.

    Returns:
        y in the dtype of `base`; sums are made in the widest dtype of the arguments.
    """
    if z.shape[0] <= z.shape[1] and z.dtype == weight.dtype and (bias is None or bias.dtype == z.dtype):
        # For few tokens another pass over the output costs less than another column of W.
        up = torch.nn.functional.linear(z, weight, bias)
        return torch.add(base, up, alpha=scaling).to(base.dtype)
    dtype = torch.promote_types(torch.promote_types(z.dtype, weight.dtype), base.dtype)
    z, weight = z.to(dtype), weight.to(dtype)
    if bias is not None:
        # The bias is one column more of W, under a readout of 1: no pass of its own over the output.
        weight = torch.cat((weight, bias.to(dtype)[:, None]), dim=1)
        z = torch.nn.functional.pad(z, (0, 1), value=1.0)
    return torch.addmm(base.to(dtype), z, weight.T, alpha=scaling).to(base.dtype)
