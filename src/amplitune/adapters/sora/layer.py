"""The SoRA branch of one layer."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from amplitune.adapters.linear_layer import LinearAdapterLayer
from amplitune.adapters.merging import MergeableLayer
from amplitune.adapters.sora.config import SoRAConfig


class SoRALayer(MergeableLayer):
    """A frozen layer with a gated low-rank branch.

        y = base_layer(x) + (lora_alpha / r) B (g * (A dropout(x)))

    Parameters of an adapter: `sora_A`, `sora_B` and `sora_gate` (r,); A and B of the shapes that LoRA has for
    a layer of that kind. A subclass makes A and B in `low_rank`.

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

    def low_rank(self, r: int) -> tuple[Tensor, Tensor]:
        """Make A and B of rank r, not initialised."""
        raise NotImplementedError

    def update_layer(self, adapter_name: str, config: SoRAConfig, module_name: str) -> None:
        """Make the parameters of an adapter."""
        r = config.rank_of(module_name)
        a, b = self.low_rank(r)
        self.sora_gate[adapter_name] = nn.Parameter(torch.randn(r))
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        nn.init.zeros_(b) if config.init_weights else nn.init.kaiming_uniform_(b, a=math.sqrt(5))
        self.sora_A[adapter_name], self.sora_B[adapter_name] = nn.Parameter(a), nn.Parameter(b)
        self.sora_dropout[adapter_name] = (
            nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        )
        self.sora_scaling[adapter_name] = config.scaling_of(module_name)
        self.place_adapter(adapter_name, config)


class SoRALinear(SoRALayer, LinearAdapterLayer):
    """A frozen linear layer with a gated low-rank branch.

    `sora_A` (r, d_in) and `sora_B` (d_out, r): with the gate, r (d_in + d_out + 1) parameters.
    """

    def low_rank(self, r: int) -> tuple[Tensor, Tensor]:
        """Make A (r, d_in) and B (d_out, r), not initialised."""
        return torch.empty(r, self.in_features), torch.empty(self.out_features, r)

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
