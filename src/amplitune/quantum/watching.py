"""Whether anything but the values of a computation is asked for, so that it must run as an operator."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

_PLAIN = (Tensor, torch.nn.Parameter)

# Names of this module, because each dot costs a token's generation something. Tracers other than dynamo come
# with a mode; `torch.compiler.is_compiling` would ask for them by two more calls.
_is_compiling = torch.compiler.is_dynamo_compiling
_transforms_are_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack
_is_tracing = torch._C._is_tracing
_is_grad_enabled = torch.is_grad_enabled


def is_watched(*tensors: Tensor | None) -> bool:
    """Tell whether anything but the values of a computation is asked for, so that it must be an operator.

    Args:
        *tensors: the arguments.

    Returns:
        Whether there may be a gradient, a tracer, a transform of torch.func, a mode that sees operators, or a
        subclass of tensors.
    """
    if (
        _is_compiling()
        or _transforms_are_active()
        or _dispatch_modes()
        or _is_tracing()
        or forward_ad._current_level >= 0
    ):
        return True
    differentiates = _is_grad_enabled()
    for tensor in tensors:
        if tensor is not None and (type(tensor) not in _PLAIN or (differentiates and tensor.requires_grad)):
            return True
    return False
