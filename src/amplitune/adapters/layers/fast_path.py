"""The fast path of torch's own transformer layers, which an adapter must keep them from."""

from typing import Any

from torch import nn


def leave_fast_path(model: nn.Module, parent: nn.Module, layer: nn.Module) -> None:
    """Let torch call a layer of a TransformerEncoderLayer at inference instead of reading its weight.

    The fast path is not taken where a module has hooks. The encoder around it would still hand it nested
    tensors where there is a padding mask, as only the fast path can read them.

    Args:
        model: the model.
        parent: the module that has the layer; nothing is done for other kinds.
        layer: the layer with an adapter.
    """
    if not isinstance(parent, nn.TransformerEncoderLayer):
        return
    layer.register_forward_pre_hook(_keep_input)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and parent in module.layers.children():
            module.use_nested_tensor = False


def _keep_input(module: nn.Module, args: Any) -> None:
    return None
