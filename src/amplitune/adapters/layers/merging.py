"""Merging: adding what an adapter computes to the weight of its base layer, for adapters linear in x."""

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from transformers.pytorch_utils import Conv1D

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.adapters.layers.quantized_base import (
    KeptWeight,
    check_weight_can_change,
    read_weight,
    write_weight,
)
from amplitune.errors import ConfigError, NotMergeableError


class MergeableLayer(AdapterLayer):
    """A layer whose adapters have an equivalent change of weight and bias.

        W <- W0 + dW,   b <- b0 + db

    A subclass computes `get_delta_weight` and, where an adapter has a bias, `get_delta_bias`.
    """

    weight_name: ClassVar[str] = "weight"
    """The base layer's name for W0."""

    _kept_weight: KeptWeight | None = None

    @property
    def is_transposed(self) -> bool:
        """Whether the base layer keeps its weight as (d_in, d_out)."""
        return isinstance(self.get_base_layer(), (Conv1D, nn.Embedding))

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute dW in the layout of the base weight."""
        raise NotImplementedError

    def get_delta_bias(self, adapter_name: str) -> Tensor | None:
        """Compute db, shape (d_out,); None where the adapter has no bias."""
        return None

    def check_mergeable(self, adapter_name: str) -> None:
        """Raise NotMergeableError where an adapter has no equivalent change of this layer's weight and bias.

        Args:
            adapter_name: an adapter; one that this layer does not have is passed over.
        """
        if not self.has_adapter(adapter_name):
            return
        base = self.get_base_layer()
        if self.quantization_backend is not None:
            check_weight_can_change(base, self.quantization_backend)
        # weight_norm keeps a length of the weight, spectral_norm and torch's pruning keep what it was before.
        sources = [f"{self.weight_name}_{end}" for end in ("g", "orig")]
        if is_parametrized(base, self.weight_name) or any(hasattr(base, source) for source in sources):
            raise NotMergeableError(
                f"An adapter cannot be merged into a {type(base).__name__} that computes its weight from "
                "other tensors (torch.nn.utils.parametrize, weight_norm, spectral_norm or prune). Keep the "
                "adapter beside it, or remove the parametrization first."
            )

    def check_finite(self, adapter_names: Sequence[str]) -> None:
        """Raise ConfigError where the adapters would give the base layer infinities or NaNs; see `merge`.

        Args:
            adapter_names: adapters; those that are merged already, or that this layer lacks, are passed over.
        """
        names = [
            name for name in adapter_names if self.has_adapter(name) and name not in self.merged_adapters
        ]
        if names:
            _check_finite(names, self._weight_plus(names, sign=1), self._bias_plus(names, sign=1))

    def get_base_weight(self) -> Tensor:
        """Read the weight of the base layer, dequantised where it is quantised."""
        if self.quantization_backend is None:
            weight: Tensor = getattr(self.get_base_layer(), self.weight_name).data
            return weight
        return read_weight(self.get_base_layer(), self.quantization_backend)

    def set_base_weight(self, weight_data: Tensor) -> None:
        """Write the weight of the base layer, quantised as it was."""
        if self.quantization_backend is None:
            getattr(self.get_base_layer(), self.weight_name).data = weight_data
        else:
            write_weight(self, self.quantization_backend, weight_data)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters to the base weight and bias.

        A quantised weight is dequantised and, with the adapters added, quantised again. It is kept until
        `unmerge`, as subtracting the adapters from what is left of them would not bring it back.

        Args:
            safe_merge: leave them as they are and raise if the sum is not finite.
            adapter_names: the adapters; by default the active ones.

        Raises:
            NotMergeableError: `check_mergeable` raises it for one of the adapters.
            ConfigError: with `safe_merge`, the merged weight or bias has infinite or NaN entries.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if self.has_adapter(name)]
        if not names:
            return
        for name in names:
            self.check_mergeable(name)
        weight, bias = self._weight_plus(names, sign=1), self._bias_plus(names, sign=1)
        if safe_merge:
            _check_finite(names, weight, bias)
        if self.quantization_backend is not None:
            warnings.warn(
                f"Merging rounds weights quantised by {self.quantization_backend.backend_name} again, so the "
                "outputs can differ from those before: measure the merged model before you use it.",
                stacklevel=2,
            )
            if not self.merged:
                self._kept_weight = KeptWeight.of(self.get_base_layer())
        self.set_base_weight(weight)
        self._set_base_bias(bias)
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Subtract the merged adapters from the base weight and bias; put a quantised weight back."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        names = [name for name in self.merged_adapters if self.has_adapter(name)]
        if self._kept_weight is None:
            self.set_base_weight(self._weight_plus(names, sign=-1))
        else:
            self._kept_weight.put_back(self.get_base_layer())
            self._kept_weight = None
        self._set_base_bias(self._bias_plus(names, sign=-1))
        self.merged_adapters.clear()

    # One rounding to the dtype, after the sum.
    @torch.no_grad()
    def _weight_plus(self, adapter_names: Sequence[str], sign: int) -> Tensor:
        weight = total = self.get_base_weight()
        for adapter_name in adapter_names:
            total = total + sign * self.get_delta_weight(adapter_name)
        return total.to(weight.dtype)

    @torch.no_grad()
    def _bias_plus(self, adapter_names: Sequence[str], sign: int) -> Tensor | None:
        deltas = [delta for name in adapter_names if (delta := self.get_delta_bias(name)) is not None]
        if not deltas:
            return None
        base: Any = self.get_base_layer()
        return (base.bias + sign * sum(deltas)).to(base.bias.dtype)

    def _set_base_bias(self, bias: Tensor | None) -> None:
        if bias is not None:
            base: Any = self.get_base_layer()
            base.bias.data = bias


def _check_finite(adapter_names: Sequence[str], *merged: Tensor | None) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in merged if tensor is not None):
        raise ConfigError(
            "`safe_merge` needs finite weights, but there are infinities or NaNs detected in the merged "
            f"weights. The adapter {', '.join(adapter_names)} seems to be broken: train it again with a "
            "lower learning rate."
        )
