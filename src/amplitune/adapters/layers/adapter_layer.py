"""What the layers of QAA, SoRA and CONTROL share: a frozen base layer and a trainable branch beside it."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import quantization_extra_repr
from torch import Tensor, nn

from amplitune.adapters.layers.mixed_batch import check_mixed_batch, rows_by_adapter
from amplitune.adapters.layers.offloading import device_of, is_offloaded, onloaded
from amplitune.adapters.layers.quantized_base import check_passes_gradient, find_backend
from amplitune.adapters.targeting import TargetingConfig


class AdapterLayer(nn.Module, BaseTunerLayer):
    """A frozen layer with the trainable branch of each active adapter added.

        y = base_layer(x) + sum over active adapters of branch(x)

    A subclass for a kind of layer says which modules it `wraps` and what their `features` are. A subclass for
    a method names its parameters in `adapter_layer_names`, makes them in `update_layer`, computes `branch`.
    Parameters lie in `nn.ParameterDict`s by adapter name, so that peft saves, moves and deletes them.

    Args:
        base_layer: a module of a kind that it wraps, or another tuner's layer around one.
        adapter_name: the adapter's name, "default" unless the user gives another.
        config: the method's config.
        module_name: the layer's name in the model, for messages.
        quantization_kwargs: what peft's backends for quantised weights need.
    """

    wraps: ClassVar[tuple[type[nn.Module], ...]] = ()

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
        wrapped = self.get_base_layer()
        self.in_features, self.out_features = self.features(wrapped, module_name)
        self.quantization_backend = find_backend(wrapped, **quantization_kwargs)

    @classmethod
    def goes_around(cls, module: nn.Module) -> bool:
        """Whether `module` is of a kind that it wraps."""
        return isinstance(module, cls.wraps)

    @classmethod
    def features(cls, module: nn.Module, module_name: str) -> tuple[int, int]:
        """Find the width of a branch's input and of its output.

        Args:
            module: a module of a kind in `wraps`.
            module_name: its name in the model, for the message.

        Returns:
            (d_in, d_out).

        Raises:
            ConfigError: this one cannot be wrapped although others of its kind can.
        """
        raise NotImplementedError

    @classmethod
    def check_module(cls, config: Any, module: nn.Module, module_name: str) -> None:
        """Raise ConfigError when an adapter of this config cannot go around `module`."""
        cls.features(module, module_name)

    def update_layer(self, adapter_name: str, config: Any, module_name: str) -> None:
        """Make the parameters of an adapter, then call `place_adapter`."""
        raise NotImplementedError

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the output for the input x, in float32 or wider."""
        raise NotImplementedError

    def add_branch(self, result: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        """Add what the adapter adds; a method overrides it where it can save a pass over the output."""
        return result + self.branch(x, adapter_name)

    def extra_repr(self) -> str:
        """Name the library that has quantised the base layer, if any."""
        return quantization_extra_repr(self)

    def has_adapter(self, adapter_name: str) -> bool:
        """Whether this layer has parameters of the adapter; an adapter may wrap some of the layers only."""
        return any(adapter_name in getattr(self, name) for name in self.adapter_layer_names)

    def place_adapter(self, adapter_name: str, config: TargetingConfig) -> None:
        """Put a new adapter where the base layer is, and let it train if it is active."""
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        """Find where the base layer computes; peft knows it only of weights of some names that are there."""
        device, dtype = super()._get_base_layer_device_and_dtype(base_layer)
        return device_of(base_layer) if device is None or device.type == "meta" else device, dtype

    def _move_adapter_to_device_of_base_layer(
        self, adapter_name: str, device: torch.device | None = None
    ) -> None:
        """Move an adapter to the base layer's device, keeping at least float32.

        peft would cast to the base layer's dtype too and then back. A soft threshold of 3e-4 is lost in
        bfloat16, where numbers near 1 are 0.008 apart, and so are the last bits of an angle; so an adapter is
        in float32 (float64 on a float64 model) unless `autocast_adapter_dtype=False` asks otherwise.
        """
        base_device, base_dtype = self._get_base_layer_device_and_dtype(self.get_base_layer())
        dtype = torch.float32
        if base_dtype is not None and base_dtype.is_floating_point:
            dtype = torch.promote_types(base_dtype, dtype)
        self._place(adapter_name, base_device if device is None else device, dtype)

    def cast_adapter_to_base(self, adapter_name: str) -> None:
        """Cast an adapter to the dtype of the base layer, which may be half precision.

        A base layer of integers, quantised, has no such dtype: the adapter stays as it is.
        """
        device, dtype = self._get_base_layer_device_and_dtype(self.get_base_layer())
        if dtype is not None and dtype.is_floating_point and dtype.itemsize > 1:
            self._place(adapter_name, device, dtype)

    def _place(self, adapter_name: str, device: torch.device | None, dtype: torch.dtype) -> None:
        """Move what an adapter trains; tensors on the meta device are left for peft to fill."""
        if device is None:
            return
        for name in self.adapter_layer_names:
            parameters = getattr(self, name)
            if adapter_name not in parameters or parameters[adapter_name].is_meta:
                continue
            parameter = parameters[adapter_name]
            if parameter.device != device or parameter.dtype != dtype:
                moved = parameter.detach().to(device, dtype)
                parameters[adapter_name] = nn.Parameter(moved, requires_grad=parameter.requires_grad)

    def forward(
        self, x: Tensor, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any
    ) -> Tensor:
        """Add the branches of the active adapters to the base layer's output, in the output's dtype.

        Args:
            x: the base layer's input.
            *args: passed on to the base layer.
            adapter_names: an adapter for each element of the batch instead of the active ones; "__base__" for
                none. The tuner passes on what the model was called with.
            **kwargs: passed on to the base layer.

        Returns:
            What the base layer returns, with the branches added.
        """
        if adapter_names is not None:
            check_mixed_batch(adapter_names, len(x), self.merged)
        # The attributes behind `disable_adapters` and `merged`: a token feels each call.
        if self._disable_adapters and self.merged_adapters:
            self.unmerge()
        # Modules are taken from where nn.Module keeps them, which saves calls of its `__getattr__`.
        modules: dict[str, Any] = self._modules
        result: Tensor = modules["base_layer"](x, *args, **kwargs)
        if self.training and self.quantization_backend is not None:
            check_passes_gradient(self.get_base_layer(), x, result)
        if self._disable_adapters or self.merged_adapters:
            return result
        if is_offloaded(map(modules.__getitem__, self.adapter_layer_names)):
            with onloaded([modules[name] for name in self.adapter_layer_names]):
                return self._add_branches(result, x, adapter_names)
        return self._add_branches(result, x, adapter_names)

    def _add_branches(self, result: Tensor, x: Tensor, adapter_names: Sequence[str] | None) -> Tensor:
        dtype = result.dtype
        if adapter_names is None:
            active = self._active_adapter
            for adapter_name in (active,) if isinstance(active, str) else active:
                if self.has_adapter(adapter_name):
                    result = self.add_branch(result, x, adapter_name)
            return result if result.dtype is dtype else result.to(dtype)
        for adapter_name, rows in rows_by_adapter(adapter_names, result.device).items():
            if self.has_adapter(adapter_name):
                changed = self.add_branch(result[rows], x[rows], adapter_name)
                result = result.index_copy(0, rows, changed.to(dtype))
        return result
