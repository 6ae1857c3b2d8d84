"""The modules whose change is measured: the same of an architecture for every method."""

import re
from typing import Any

import peft
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULT_TARGETS
from torch import nn

PROJECTIONS = ("q_proj", "v_proj", "query", "value", "query_key_value", "c_attn", "qkv_proj")
"""Names of attention projections, for architectures that peft has no default for."""


def measured_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Find the projections that adapters target by default in an architecture, and each layer as a whole.

    Args:
        model: a transformers model, or a peft model around one, its adapter switched off if it replaces
            modules by others.

    Returns:
        Name in the model without adapters -> module (of an adapted layer, the layer with its adapter), in the
        model's order.
    """
    root: Any = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    config = root.config.get_text_config() if hasattr(root.config, "get_text_config") else root.config
    targets = DEFAULT_TARGETS.get(root.config.model_type, PROJECTIONS)
    blocks = [
        name
        for name, module in root.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == getattr(config, "num_hidden_layers", None)
    ]
    # A list inside a layer may happen to be as long.
    blocks = [name for name in blocks if not any(name.startswith(f"{other}.") for other in blocks)]
    layers = {f"{name}.{i}" for name in blocks for i in range(len(root.get_submodule(name)))}
    return {
        name: module for name, module in root.named_modules() if name in layers or _is_target(name, targets)
    }


def _is_target(name: str, targets: Any) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return name.rpartition(".")[2] in targets
