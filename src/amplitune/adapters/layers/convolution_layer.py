"""The adapter of one convolution, in one, two or three dimensions."""

from typing import Any

from torch import nn

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError

_KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class ConvolutionAdapterLayer(AdapterLayer):
    """A frozen convolution with the trainable branch of each active adapter added.

        y = W0 * x (+ b0) + sum over active adapters of branch(x)

    x is (batch, in_channels, *size) or (in_channels, *size), y the same with out_channels and another size.
    A subclass takes the stride, padding (its mode as well) and dilation of the base layer over.
    """

    wraps = _KINDS

    @classmethod
    def features(cls, module: nn.Module, module_name: str) -> tuple[int, int]:
        """Find the channels of a convolution.

        Raises:
            ConfigError: the module's class computes something else than a convolution with its weight.

        Example:
            >>> ConvolutionAdapterLayer.features(nn.Conv2d(3, 8, kernel_size=5), "")
            (3, 8)
        """
        if type(module).forward not in [kind.forward for kind in _KINDS]:
            raise ConfigError(
                f"`target_modules` must name convolutions that do nothing else, but {module_name} is a "
                f"{type(module).__name__} with a `forward` of its own (a standardised weight, another "
                "padding), which an adapter cannot follow. Take it out of `target_modules`, or exclude it "
                "with `exclude_modules`."
            )
        convolution: Any = module
        return convolution.in_channels, convolution.out_channels
