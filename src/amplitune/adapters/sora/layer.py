"""The SoRA branch of one linear layer."""

import math
import warnings
from typing import Any

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn
from torch.nn import functional

from amplitune.adapters.linear_layer import LinearAdapterLayer
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.errors import ConfigError


class SoRALinear(LinearAdapterLayer):
    """A frozen linear layer with a gated low-rank branch.

        y = W0 x (+ b0) + (lora_alpha / r) B (g * (A dropout(x)))

    Parameters of an adapter: `sora_A` (r, d_in), `sora_B` (d_out, r), `sora_gate` (r,), r (d_in + d_out + 1)
    in all.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, equation 5; A Kaiming-uniform, B zero, g standard normal.
    """

    adapter_layer_names = ("sora_A", "sora_B", "sora_gate")
    other_param_names = ("sora_dropout", "sora_scaling")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: SoRAConfig, module_name: str, **kwargs: Any
    ) -> None:
        """Wrap `base_layer` and make the first adapter."""
        super().__init__(base_layer, adapter_name, config, module_name, **kwargs)
        self.sora_A = nn.ParameterDict()
        self.sora_B = nn.ParameterDict()
        self.sora_gate = nn.ParameterDict()
        self.sora_dropout = nn.ModuleDict()
        self.sora_scaling: dict[str, float] = {}
        self.update_layer(adapter_name, config, module_name)

    def update_layer(self, adapter_name: str, config: SoRAConfig, module_name: str) -> None:
        """Make the parameters of an adapter."""
        self.sora_A[adapter_name] = nn.Parameter(torch.empty(config.r, self.in_features))
        self.sora_B[adapter_name] = nn.Parameter(torch.zeros(self.out_features, config.r))
        self.sora_gate[adapter_name] = nn.Parameter(torch.randn(config.r))
        nn.init.kaiming_uniform_(self.sora_A[adapter_name], a=math.sqrt(5))
        if not config.init_weights:
            nn.init.kaiming_uniform_(self.sora_B[adapter_name], a=math.sqrt(5))
        self.sora_dropout[adapter_name] = (
            nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        )
        self.sora_scaling[adapter_name] = config.lora_alpha / config.r
        self.place_adapter(adapter_name, config)

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute (lora_alpha / r) B (g * (A dropout(x))): x (..., d_in) -> (..., d_out)."""
        a, b = self.sora_A[adapter_name], self.sora_B[adapter_name]
        x = self.sora_dropout[adapter_name](self._cast_input_dtype(x, a.dtype))
        gated = functional.linear(x, a) * self.sora_gate[adapter_name]
        return functional.linear(gated, b) * self.sora_scaling[adapter_name]

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the base weight.

            (lora_alpha / r) B diag(g) A

        Args:
            adapter_name: the adapter.

        Returns:
            In the layout of the base weight: (d_out, d_in), for Conv1D (d_in, d_out).
        """
        gated = self.sora_B[adapter_name] * self.sora_gate[adapter_name]
        delta = (gated @ self.sora_A[adapter_name]) * self.sora_scaling[adapter_name]
        return delta.T if self.is_transposed else delta

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters to the base weight.

        Args:
            safe_merge: leave the base weight as it is and raise if the sum is not finite.
            adapter_names: the adapters; by default the active ones.

        Raises:
            ConfigError: with `safe_merge`, the merged weight has infinite or NaN entries.
        """
        for adapter_name in check_adapters_to_merge(self, adapter_names):
            if adapter_name not in self.sora_A:
                continue
            merged = self._base_weight_plus(adapter_name, sign=1)
            if safe_merge and not torch.isfinite(merged).all():
                raise ConfigError(
                    f"`safe_merge` needs finite weights, but merging adapter {adapter_name!r} gives "
                    "infinities or NaNs detected in the merged weights. The adapter seems to be broken: "
                    "train it again with a lower learning rate."
                )
            self.set_base_weight(merged)
            self.merged_adapters.append(adapter_name)

    def unmerge(self) -> None:
        """Subtract the merged adapters from the base weight."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        while self.merged_adapters:
            adapter_name = self.merged_adapters.pop()
            if adapter_name in self.sora_A:
                self.set_base_weight(self._base_weight_plus(adapter_name, sign=-1))

    @torch.no_grad()
    def _base_weight_plus(self, adapter_name: str, sign: int) -> Tensor:
        # One rounding to the weight's dtype, after the sum.
        weight = self.get_base_weight()
        return (weight + sign * self.get_delta_weight(adapter_name)).to(weight.dtype)
