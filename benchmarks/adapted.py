"""One linear layer, frozen and bare, with peft's LoRA, with QAA: what the layer benchmarks compare."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import peft
import torch
from benchmarks.timing import Case
from torch import Tensor, nn

from amplitune import QAAConfig
from amplitune.quantum.kernels.dispatch import kernel as using

#: LoRA's rank in every comparison.
RANK = 8


class Identity(nn.Linear):
    """A linear layer that hands its input through: over it, an adapter's own cost stands out."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input


def base_layer(width: int, dtype: torch.dtype, device: str, identity: bool = False) -> nn.Linear:
    """Make a frozen linear layer without bias.

    Args:
        width: d_in and d_out.
        dtype: of its weight.
        device: where it lies.
        identity: whether it only hands its input through.

    Returns:
        The layer.
    """
    layer = (Identity if identity else nn.Linear)(width, width, bias=False, device=device, dtype=dtype)
    return layer.requires_grad_(False)


def with_lora(base: nn.Linear) -> nn.Module:
    """Put peft's LoRA around a layer; the layer itself is shared, not copied.

    Args:
        base: the layer.

    Returns:
        peft's layer, without the model around it. B is random: at zero, arithmetic might be cheaper.
    """
    return _wrapped(base, peft.LoraConfig(r=RANK, target_modules=["proj"], init_lora_weights=False))


def with_qaa(base: nn.Linear, settings: Mapping[str, Any] | None = None) -> nn.Module:
    """Put a QAA adapter around a layer; the layer itself is shared, not copied.

    Args:
        base: the layer.
        settings: fields of QAAConfig that differ from the defaults.

    Returns:
        The layer's wrapper, without the model around it. W_up is random, as LoRA's B.
    """
    return _wrapped(base, QAAConfig(target_modules=["proj"], init_weights=False, **(settings or {})))


def _wrapped(base: nn.Linear, config: Any) -> nn.Module:
    model = peft.get_peft_model(nn.Sequential(OrderedDict(proj=base)), config)
    layer: nn.Module = model.base_model.model.proj
    return layer


def circuit_of(layer: nn.Module) -> Any:
    """Give the circuit of a layer made by `with_qaa`."""
    return layer.qaa_circuit["default"]  # type: ignore[index]


def inputs(tokens: int, width: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Draw an input that needs a gradient, as inside a model, and the gradient that arrives from above.

    Args:
        tokens: number of rows.
        width: d_in and d_out.
        dtype: of both.
        device: of both.

    Returns:
        x and dL/dy, each (tokens, width).
    """
    x = torch.randn(tokens, width, dtype=dtype, device=device, requires_grad=True)
    return x, torch.randn(tokens, width, dtype=dtype, device=device)


def training_pass(layer: nn.Module, x: Tensor, grad: Tensor, kernel: str | None = None) -> Case:
    """Make the case: forward and backward of a layer, to its input and its trainable parameters.

    Args:
        layer: the layer.
        x: its input, which needs a gradient.
        grad: dL/dy.
        kernel: the kernel for circuits in it; None for the rule.

    Returns:
        A function of no argument that returns the gradients.
    """
    wanted = [x, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]

    def case() -> tuple[Tensor, ...]:
        with using(kernel):
            return torch.autograd.grad(layer(x), wanted, grad)

    return case
