"""The model that a run began with, brought back for a comparison with the trained one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peft
import torch
from torch import nn

KEEPING_BASE = (True, False, None, "gaussian", "eva", "orthogonal")
"""Starts of LoRA that leave the base weights as they are; PiSSA and its like take a part out of them."""


@contextmanager
def untouched(model: nn.Module, base_loader: Callable[[], nn.Module]) -> Iterator[nn.Module]:
    """Give the model as it was before the run, in evaluation mode.

    A model whose base weights stayed as they were gives itself with its adapter switched off, which takes no
    memory. Otherwise (full fine-tuning, trained biases) the pretrained weights are loaded again beside it.

    Args:
        model: the trained model.
        base_loader: loads the pretrained model; called at most once, without a trace in torch's random state.

    Yields:
        The model to call; its modules are those of `model` unless it was loaded.
    """
    if isinstance(model, peft.PeftModel) and keeps_base(model):
        if model.active_peft_config.is_prompt_learning:
            # Virtual tokens live outside; peft 0.21 cannot switch those of a classifier off.
            yield model.get_base_model()
        else:
            with model.disable_adapter():
                yield model
        return
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        base = base_loader()
    base.to(next(model.parameters()).device).eval()
    yield base


def keeps_base(model: nn.Module) -> bool:
    """Whether the model is its pretrained self once its adapter is switched off."""
    if not isinstance(model, peft.PeftModel):
        return False
    config: Any = model.peft_config[model.active_adapter]
    return (
        getattr(config, "bias", "none") in ("none", False)
        and getattr(config, "init_lora_weights", None) in KEEPING_BASE
    )
