"""The QAA branch of one convolution."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._autograd import _top_saved_tensors_default_hooks
from torch.nn import functional

from amplitune.adapters.layers.convolution_layer import ConvolutionAdapterLayer
from amplitune.adapters.qaa.layer import QAALayer
from amplitune.errors import ConfigError


class QAAConvolution(QAALayer, ConvolutionAdapterLayer):
    """A frozen convolution with a parametrised quantum circuit beside it.

    A convolution is a linear layer on patches, and so is its adapter: at each position, the patch of
    d_in = in_channels * prod(kernel_size) numbers that the kernel covers there, with the base layer's
    padding, is encoded into ceil(log2 d_in) qubits, and W_up maps the readouts to the output channels.

        y[:, p] = (W0 * x)[:, p] (+ b0) + scaling * (W_up z(patch of x at p) + b_up)

    A patch of zeros has no state, and z = 0 there. Patches overlap: they take prod(kernel_size) /
    prod(stride) times the memory of x while the circuit runs. For the backward pass x is kept, and the
    patches are cut out of it again; where compiled code, a transform of torch.func, checkpointing or
    offloading decides what is kept, the patches are what it decides on.
    """

    @classmethod
    def features(cls, module: nn.Module, module_name: str) -> tuple[int, int]:
        """Find the size of a patch and the number of output channels.

        Raises:
            ConfigError: the convolution has groups, or its class does something else as well.

        Example:
            >>> QAAConvolution.features(nn.Conv2d(3, 8, kernel_size=5), "")
            (75, 8)
        """
        channels, out_channels = super().features(module, module_name)
        convolution: Any = module
        if convolution.groups > 1:
            raise ConfigError(
                f"`target_modules` must name convolutions with groups=1 for QAA, but {module_name} has "
                f"groups={convolution.groups}: its groups see different channels, so that each would need a "
                "circuit of its own. Exclude it with `exclude_modules`, target the pointwise convolution "
                "beside it, or use SoRAConfig."
            )
        return channels * math.prod(convolution.kernel_size), out_channels

    def patches(self, x: Tensor) -> Tensor:
        """Cut out what the kernel covers at each position.

        Args:
            x: shape (..., in_channels, *size), with no or one dimension before.

        Returns:
            Shape (..., *output size, d_in); in d_in, channels come first, as in the base weight.
        """
        base: Any = self.get_base_layer()
        padding = base._reversed_padding_repeated_twice
        if any(padding):
            x = functional.pad(x, padding, "constant" if base.padding_mode == "zeros" else base.padding_mode)
        n_spatial = len(base.kernel_size)
        first = x.dim() - n_spatial
        steps = zip(base.kernel_size, base.stride, base.dilation, strict=True)
        for dimension, (size, stride, dilation) in enumerate(steps, start=first):
            x = x.unfold(dimension, dilation * (size - 1) + 1, stride)[..., ::dilation]
        return x.movedim(first - 1, first - 1 + n_spatial).flatten(-n_spatial - 1)

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute scaling * (W_up z + b_up), of the shape of the base layer's output."""
        dtype = torch.promote_types(x.dtype, self.qaa_up_proj[adapter_name].dtype)
        patches = self.patches(x)
        rows = patches.new_zeros(*patches.shape[:-1], self.out_features, dtype=dtype)
        return self.add_branch(rows.movedim(-1, self._channel(x)), x, adapter_name)

    def add_branch(self, result: Tensor, x: Tensor, adapter_name: str) -> Tensor:
        """Compute result + scaling * (W_up z + b_up) in one pass, in the dtype of `result`."""
        channel = self._channel(x)
        patches = self.patches(x)
        with _kept_as(x, patches, self.patches):
            rows = super().add_branch(result.movedim(channel, -1), patches, adapter_name)
        # A copy, because autograd lets nothing change a view of the operator's output in place, as ReLU may.
        layout = torch.contiguous_format if result.is_contiguous() else torch.preserve_format
        return rows.movedim(-1, channel).clone(memory_format=layout)

    def _channel(self, x: Tensor) -> int:
        base: Any = self.get_base_layer()
        return x.dim() - len(base.kernel_size) - 1

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the base weight, in its shape; see MergeableQAALayer."""
        return super().get_delta_weight(adapter_name).view_as(self.get_base_weight())


@contextmanager
def _kept_as(x: Tensor, made: Tensor, make: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Keep x for the backward pass where `made` = make(x) is to be kept, and make it again there."""
    decided_elsewhere = (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or _top_saved_tensors_default_hooks(False) is not None
    )
    if not torch.is_grad_enabled() or decided_elsewhere or type(made) is not Tensor or x.is_inference():
        yield
        return
    key, version = (made.data_ptr(), made.shape), x._version

    def pack(tensor: Tensor) -> Tensor | None:
        return None if (tensor.data_ptr(), tensor.shape) == key else tensor

    def unpack(kept: Tensor | None) -> Tensor:
        if kept is not None:
            return kept
        if x._version != version:
            raise RuntimeError(
                "The input of a convolution with a QAA adapter was changed in place before the backward "
                "pass, which needs it: replace the inplace operation, such as ReLU(inplace=True), by another."
            )
        return make(x)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield
