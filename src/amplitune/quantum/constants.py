"""Constant tensors of circuits (signs and permutations), kept once per device and dtype."""

from collections.abc import Callable, Hashable
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def _kept(
    build: Callable[..., Tensor], arguments: tuple[Hashable, ...], device: torch.device, dtype: torch.dtype
) -> Tensor:
    # A tensor born under inference_mode could not be saved for a later backward pass.
    with torch.inference_mode(False):
        return build(*arguments).to(device, dtype)


def constant(
    build: Callable[..., Tensor], *arguments: Hashable, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Build a constant tensor, or hand out the one that was built before.

    Args:
        build: a pure function that returns a tensor on the CPU.
        arguments: its arguments.
        device: where the tensor is wanted.
        dtype: as what.

    Returns:
        `build(*arguments)` on `device` as `dtype`; callers must not write to it.

    Example:
        >>> first = constant(torch.eye, 2, device=torch.device("cpu"), dtype=torch.float32)
        >>> first is constant(torch.eye, 2, device=torch.device("cpu"), dtype=torch.float32)
        True
    """
    # Fake tensors (of a tracer or a memory estimate) must neither be kept nor meet real ones; nor must the
    # results of operations inside torch.func's transforms, which are wrapped.
    inside = torch._C._functorch.peek_interpreter_stack() is not None
    if torch.compiler.is_compiling() or inside or type(torch.empty(0)) is not Tensor:
        return build(*arguments).to(device, dtype)
    return _kept(build, arguments, device, dtype)
