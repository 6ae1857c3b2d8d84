"""Base layers with quantised weights: which they are, and how their weight is read, written and put back."""

from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import resolve_quantization_backend
from peft.utils.quantization_utils import (
    ForwardOnlyQuantizationBackend,
    QuantizationBackend,
    TorchaoBackend,
)
from torch import Tensor, nn

from amplitune.errors import ConfigError, NotMergeableError


def find_backend(base: nn.Module, **quantization_kwargs: Any) -> QuantizationBackend | None:
    """Find peft's backend for a base layer.

    peft refuses a weight that torchao has quantised without transformers, as no config tells how to quantise
    a merged one; here such a layer can be trained around, and only merging is refused.

    Args:
        base: the base layer.
        **quantization_kwargs: what peft's `get_quantization_kwargs` finds in the model.

    Returns:
        The backend; None for weights that are not quantised.

    Example:
        >>> find_backend(nn.Linear(2, 2)) is None
        True
    """
    try:
        return resolve_quantization_backend(base, **quantization_kwargs)
    except ValueError:
        return ForwardOnlyQuantizationBackend("torchao without transformers' TorchAoConfig")


def is_quantized_linear(module: nn.Module) -> bool:
    """Whether a module computes W x + b from a quantised W without being an `nn.Linear`.

    Such are the layers of GPTQ, AWQ, HQQ, AQLM, EETQ; peft's backends know them. bitsandbytes' layers are
    `nn.Linear`s, and torchao quantises the weights of torch's own modules.

    Example:
        >>> is_quantized_linear(nn.Linear(2, 2)), is_quantized_linear(nn.GELU())
        (False, False)
    """
    if isinstance(module, nn.Linear) or isinstance(getattr(module, "weight", None), nn.Parameter):
        return False
    backend = find_backend(module)
    return backend is not None and backend.layer_type == "linear"


def check_passes_gradient(base: nn.Module, x: Tensor, result: Tensor) -> None:
    """Refuse to train through a base layer that gives its input no gradient.

    Args:
        base: a quantised base layer.
        x: its input.
        result: its output for x.

    Raises:
        ConfigError: the gradient of x is wanted, but `result` does not depend on x for autograd.
    """
    if x.requires_grad and torch.is_grad_enabled() and not result.requires_grad:
        raise ConfigError(
            f"The base layers must pass gradients on for training, but this quantised {type(base).__name__} "
            "gives its input none, so what comes before it would not be trained. Where activations are "
            "quantised as well, quantise the weights alone, such as by torchao's Int8WeightOnlyConfig; for "
            "GPTQ and AWQ choose a kernel that trains, such as gptqmodel's torch kernel; for inference call "
            "model.eval() first."
        )


def quantized_linear_names(model: Any) -> set[str]:
    """Name the linear layers of other classes than torch's that an adapter can go around, but the output's.

    Args:
        model: the model; layers that have an adapter already are left to peft.

    Returns:
        Their names.

    Example:
        >>> quantized_linear_names(nn.Sequential(nn.Linear(2, 2)))
        set()
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    adapted = tuple(
        f"{name}." for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)
    )
    return {
        name
        for name, module in model.named_modules()
        if module is not head and not name.startswith(adapted) and is_quantized_linear(module)
    }


def check_weight_can_change(base: nn.Module, backend: QuantizationBackend) -> None:
    """Refuse a base layer whose quantised weight cannot be read and written.

    Args:
        base: the base layer.
        backend: peft's backend for it.

    Raises:
        NotMergeableError: nothing can be merged into it.
    """
    readable = backend.supports_merge
    if isinstance(backend, TorchaoBackend):
        weight: Any = base.weight
        readable &= isinstance(base, nn.Linear) and type(weight).dequantize is not Tensor.dequantize
    if not readable:
        raise NotMergeableError(
            "An adapter can only be merged into weights that can be read and written, but those of "
            f"{type(base).__name__} are quantised by {backend.backend_name}, and peft cannot. Keep the "
            "adapter beside the base model: save_pretrained writes it alone. To merge it, load the base "
            "model without quantisation, load the adapter onto that, merge, and quantise the result."
        )


@torch.no_grad()
def read_weight(base: nn.Module, backend: QuantizationBackend) -> Tensor:
    """Dequantise the weight of a base layer.

    For inference on a CPU with AVX512-BF16, bitsandbytes permutes a 4-bit weight in place, which peft's
    backend does not expect: it would give the weights in the wrong places.

    Args:
        base: the base layer.
        backend: peft's backend for it.

    Returns:
        W, shape (d_out, d_in), in the dtype that the backend gives.
    """
    weight: Any = getattr(base, "weight", None)
    packed: Any = getattr(weight, "quant_state", None)
    if not getattr(packed, "packing_format_for_cpu", False):
        return backend.get_base_weight(base)
    from bitsandbytes.functional import _convert_weight_packed_for_cpu_inverse, dequantize_4bit

    state = copy(packed)
    # The scales need no second quantisation; without it, bitsandbytes leaves them transposed.
    state.original_nested = state.nested = False
    data, state = _convert_weight_packed_for_cpu_inverse(weight.data, state)
    state.absmax = packed.absmax.T.reshape(-1).float()
    return dequantize_4bit(data, state)


@torch.no_grad()
def write_weight(layer: Any, backend: QuantizationBackend, weight: Tensor) -> None:
    """Quantise a weight as that of the layer's base was, and put it there.

    Args:
        layer: the adapter's layer.
        backend: peft's backend for its base layer.
        weight: W, shape (d_out, d_in).
    """
    base = layer.get_base_layer()
    if hasattr(base, "W_q"):
        # peft would put another layer here, without the bias. HQQ assigns a tensor before it is a parameter.
        del base.W_q
        base.quantize(weight, **base.quant_config)
    else:
        backend.set_base_weight(layer, weight)


@dataclass
class KeptWeight:
    """The quantised weight of a base layer as it was before a merge.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> kept = KeptWeight.of(layer)
        >>> layer.weight = nn.Parameter(torch.zeros(2, 2))
        >>> kept.put_back(layer)
        >>> bool(layer.weight.any())
        True
    """

    weight: Any
    """The parameter; of HQQ, which keeps no `weight`, the packed integers."""
    scales: Any
    """What else is needed: HQQ's dictionary, the scales of bitsandbytes' 8 bit; otherwise None."""

    @classmethod
    def of(cls, base: Any) -> Self:
        """Keep the weight of a base layer; nothing is copied."""
        if hasattr(base, "W_q"):
            return cls(base.W_q, dict(base.meta))
        scales = getattr(base.weight, "SCB", None)
        state = getattr(base, "state", None)
        # The first forward moves them from the weight to the state.
        return cls(base.weight, state.SCB if scales is None and state is not None else scales)

    def put_back(self, base: Any) -> None:
        """Put the weight back bit for bit, on the device where the layer is now."""
        if hasattr(base, "W_q"):
            base.W_q, base.meta = self.weight, self.scales
            base.cuda(base.device)
            return
        weight = self.weight
        if hasattr(weight, "bnb_quantized"):
            # peft clears it when it writes another weight.
            weight.bnb_quantized = True
        if self.scales is not None:
            weight.CB, weight.SCB = weight.data, self.scales
            base.state.reset_grads()
        if weight.device != base.weight.device:
            weight = weight.to(base.weight.device)
        base.weight = weight if isinstance(weight, nn.Parameter) else nn.Parameter(weight, False)
        if hasattr(weight, "quant_state"):
            base.quant_state = weight.quant_state
