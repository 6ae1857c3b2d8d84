"""Adapters whose tensors accelerate keeps elsewhere than where their layer computes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from amplitune.errors import ConfigError

_NOT_WRITTEN = (
    "An adapter that is loaded onto a model with modules on disk must have its tensors there too, but "
    "accelerate finds no {}: PeftModel.from_pretrained writes tensors of nn.Linear modules, such as LoRA's, "
    "under their names, and others under wrong ones. Load the adapter while the model is in memory and call "
    "accelerate.dispatch_model after it; or use get_peft_model on the dispatched model, then peft's "
    "set_peft_model_state_dict with load_peft_weights, which keeps the adapter in memory."
)


def device_of(base: nn.Module) -> torch.device | None:
    """Find the device where a module computes; None if it holds no tensors at all.

    Example:
        >>> device_of(nn.Linear(2, 2))
        device(type='cpu')
    """
    device = next((tensor.device for tensor in chain(base.parameters(), base.buffers())), None)
    hook: Any = base.__dict__.get("_hf_hook")
    if device == torch.device("meta") and getattr(hook, "execution_device", None) is not None:
        return torch.device(hook.execution_device)
    return device


def is_offloaded(parts: Iterable[nn.Module]) -> bool:
    """Whether accelerate keeps the tensors of one of the modules elsewhere.

    Example:
        >>> is_offloaded([nn.ParameterDict()])
        False
    """
    # No any() over a generator, which takes three times as long, and each token asks.
    for part in parts:  # noqa: SIM110
        if "_hf_hook" in part.__dict__:
            return True
    return False


@contextmanager
def onloaded(parts: list[nn.Module]) -> Iterator[None]:
    """Bring the tensors of modules that are never called, as accelerate does before a module's forward pass.

    Args:
        parts: the `nn.ParameterDict`s of a layer.

    Raises:
        ConfigError: accelerate has no such tensors, as peft has not written them to disk under their names.
    """
    hooks: list[tuple[Any, nn.Module]] = [
        (hook, part) for part in parts if (hook := part.__dict__.get("_hf_hook")) is not None
    ]
    for hook, part in hooks:
        try:
            hook.pre_forward(part)
        except KeyError as error:
            raise ConfigError(_NOT_WRITTEN.format(error)) from error
    try:
        yield
    finally:
        for hook, part in hooks:
            hook.post_forward(part, None)
