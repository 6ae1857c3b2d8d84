"""The adapter of one linear layer, of torch's own kind or of GPT-2's."""

from typing import Any

from peft.tuners.tuners_utils import _get_in_out_features
from torch import nn
from transformers.pytorch_utils import Conv1D

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.adapters.layers.quantized_base import is_quantized_linear


class LinearAdapterLayer(AdapterLayer):
    """A frozen linear layer with the trainable branch of each active adapter added.

        y = W0 x (+ b0) + sum over active adapters of branch(x),   x (..., d_in), y (..., d_out)

    The base layer is `nn.Linear`, or GPT-2's `Conv1D`, which stores its weight as (d_in, d_out), or a linear
    layer of another class with a quantised weight.
    """

    wraps = (nn.Linear, Conv1D)

    @classmethod
    def goes_around(cls, module: nn.Module) -> bool:
        """Whether `module` is linear, its weight quantised or not."""
        return super().goes_around(module) or is_quantized_linear(module)

    @classmethod
    def features(cls, module: nn.Module, module_name: str) -> tuple[int, int]:
        """Find the widths of a linear layer.

        Example:
            >>> [LinearAdapterLayer.features(layer, "") for layer in (nn.Linear(3, 5), Conv1D(5, 3))]
            [(3, 5), (3, 5)]
        """
        if isinstance(module, Conv1D):
            weight: Any = module.weight
            d_in, d_out = weight.ds_shape if hasattr(weight, "ds_shape") else weight.shape
            return int(d_in), int(d_out)
        linear: Any = module
        if is_quantized_linear(module):
            found: Any = _get_in_out_features(linear)
            return found
        return linear.in_features, linear.out_features
