"""Merging: adding what an adapter computes to the weight of its base layer, for adapters linear in x."""

import warnings
from typing import Any

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor

from amplitune.adapters.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError


class MergeableLayer(AdapterLayer):
    """A layer whose adapters have an equivalent change of weight and bias.

        W <- W0 + dW,   b <- b0 + db

    A subclass computes `get_delta_weight` and, where an adapter has a bias, `get_delta_bias`.
    """

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

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters to the base weight and bias.

        Args:
            safe_merge: leave them as they are and raise if the sum is not finite.
            adapter_names: the adapters; by default the active ones.

        Raises:
            NotMergeableError: `check_mergeable` raises it for one of the adapters.
            ConfigError: with `safe_merge`, the merged weight or bias has infinite or NaN entries.
        """
        names = check_adapters_to_merge(self, adapter_names)
        for adapter_name in names:
            self.check_mergeable(adapter_name)
        for adapter_name in names:
            if not self.has_adapter(adapter_name):
                continue
            weight, bias = self._base_plus(adapter_name, sign=1)
            finite = [torch.isfinite(merged).all() for merged in (weight, bias) if merged is not None]
            if safe_merge and not all(finite):
                raise ConfigError(
                    f"`safe_merge` needs finite weights, but merging adapter {adapter_name!r} gives "
                    "infinities or NaNs detected in the merged weights. The adapter seems to be broken: "
                    "train it again with a lower learning rate."
                )
            self._set_base(weight, bias)
            self.merged_adapters.append(adapter_name)

    def unmerge(self) -> None:
        """Subtract the merged adapters from the base weight and bias."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        while self.merged_adapters:
            adapter_name = self.merged_adapters.pop()
            if self.has_adapter(adapter_name):
                self._set_base(*self._base_plus(adapter_name, sign=-1))

    @torch.no_grad()
    def _base_plus(self, adapter_name: str, sign: int) -> tuple[Tensor, Tensor | None]:
        # One rounding to the weight's dtype, after the sum.
        weight = self.get_base_weight()
        merged = (weight + sign * self.get_delta_weight(adapter_name)).to(weight.dtype)
        delta = self.get_delta_bias(adapter_name)
        if delta is None:
            return merged, None
        bias: Any = self.get_base_layer().bias
        return merged, (bias + sign * delta).to(bias.dtype)

    def _set_base(self, weight: Tensor, bias: Tensor | None) -> None:
        self.set_base_weight(weight)
        if bias is not None:
            base: Any = self.get_base_layer()
            base.bias.data = bias
