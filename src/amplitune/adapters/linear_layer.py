"""The adapter of one linear layer: a frozen base layer with a trainable branch added to its output."""

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import resolve_quantization_backend
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError


def linear_features(layer: nn.Module, name: str) -> tuple[int, int]:
    """Find the widths of a linear layer.

    Args:
        layer: `nn.Linear`, or GPT-2's `Conv1D`, which stores its weight as (d_in, d_out).
        name: the layer's name in the model, for the message.

    Returns:
        (d_in, d_out).

    Raises:
        ConfigError: the layer is of another kind.

    Example:
        >>> linear_features(nn.Linear(3, 5), "q_proj"), linear_features(Conv1D(5, 3), "c_attn")
        ((3, 5), (3, 5))
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, Conv1D):
        d_in, d_out = layer.weight.ds_shape if hasattr(layer.weight, "ds_shape") else layer.weight.shape
        return int(d_in), int(d_out)
    raise ConfigError(
        f"`target_modules` must name linear layers (nn.Linear or Conv1D), but {name} is "
        f"{type(layer).__name__}. Take it out of `target_modules`, name the linear layers inside it, or "
        "exclude it with `exclude_modules`."
    )


class LinearAdapterLayer(nn.Module, BaseTunerLayer):
    """A frozen linear layer with the trainable branch of each active adapter added.

        y = W0 x (+ b0) + sum over active adapters of branch(x)

    A subclass names its parameters in `adapter_layer_names`, makes them in `update_layer`, and computes
    `branch`. Parameters lie in `nn.ParameterDict`s by adapter name, so that peft saves, moves and deletes
    them.

    Args:
        base_layer: `nn.Linear`, `Conv1D`, or another tuner's layer around one.
        adapter_name: the adapter's name, "default" unless the user gives another.
        config: the method's config.
        module_name: the layer's name in the model, for messages.
        quantization_kwargs: what peft's backends for quantised weights need.
    """

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        config: TargetingConfig,
        module_name: str,
        **quantization_kwargs: Any,
    ) -> None:
        """Wrap `base_layer`; the subclass has made its containers before it calls `update_layer`."""
        super().__init__()
        self.base_layer = base_layer
        self._disable_adapters = False
        self._active_adapter = adapter_name
        self.merged_adapters: list[str] = []
        linear = self.get_base_layer()
        self.in_features, self.out_features = linear_features(linear, module_name)
        self.is_transposed = isinstance(linear, Conv1D)
        self.quantization_backend = resolve_quantization_backend(linear, **quantization_kwargs)

    def update_layer(self, adapter_name: str, config: Any, module_name: str) -> None:
        """Make the parameters of an adapter, then call `place_adapter`."""
        raise NotImplementedError

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute what the adapter adds, in float32 or wider: x (..., d_in) -> (..., d_out)."""
        raise NotImplementedError

    def add_branch(self, result: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        """Add what the adapter adds; a method overrides it where it can save a pass over the output."""
        return result + self.branch(x, adapter_name)

    @staticmethod
    def check_module(config: Any, module: nn.Module, module_name: str) -> None:
        """Raise ConfigError when the method cannot wrap `module`, before any module is replaced."""
        linear_features(module, module_name)

    def has_adapter(self, adapter_name: str) -> bool:
        """Whether this layer has parameters of the adapter; an adapter may wrap some of the layers only."""
        return any(adapter_name in getattr(self, name) for name in self.adapter_layer_names)

    def place_adapter(self, adapter_name: str, config: TargetingConfig) -> None:
        """Put a new adapter where the base layer is, and let it train if it is active."""
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        """Move an adapter to the base layer's device, keeping at least float32.

        peft would cast to the base layer's dtype too and, later, may cast back. A soft threshold of 3e-4 is
        lost in bfloat16, where numbers near 1 are 0.008 apart, and so are the last bits of an angle; so the
        adapter stays in float32 (float64 on a float64 model), also with `autocast_adapter_dtype=False`.
        """
        base_device, base_dtype = self._get_base_layer_device_and_dtype(self.get_base_layer())
        device = base_device if device is None else device
        if device is None:
            return
        dtype = torch.float32
        if base_dtype is not None and base_dtype.is_floating_point:
            dtype = torch.promote_types(base_dtype, dtype)
        for name in self.adapter_layer_names:
            parameters = getattr(self, name)
            if adapter_name not in parameters or parameters[adapter_name].is_meta:
                continue
            parameter = parameters[adapter_name]
            if parameter.device != device or parameter.dtype != dtype:
                moved = parameter.detach().to(device, dtype)
                parameters[adapter_name] = nn.Parameter(moved, requires_grad=parameter.requires_grad)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Add the branches of the active adapters to the base layer's output, in the output's dtype."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        dtype = result.dtype
        for adapter_name in self.active_adapters:
            if self.has_adapter(adapter_name):
                result = self.add_branch(result, x, adapter_name)
        return result.to(dtype)
