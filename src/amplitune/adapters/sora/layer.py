"""The SoRA branch of one linear layer."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from amplitune.adapters.merging import MergeableLayer
from amplitune.adapters.sora.config import SoRAConfig


class SoRALinear(MergeableLayer):
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
