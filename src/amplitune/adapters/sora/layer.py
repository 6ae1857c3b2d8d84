"""The SoRA branch of one layer."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from amplitune.adapters.layers.linear_layer import LinearAdapterLayer
from amplitune.adapters.layers.merging import MergeableLayer
from amplitune.adapters.sora.config import SoRAConfig


class SoRALayer(MergeableLayer):
    """A frozen layer with a gated low-rank branch.

        y = base_layer(x) + (lora_alpha / r) B (g * (A dropout(x)))

    Parameters of an adapter: `sora_A`, `sora_B` and `sora_gate` (r,); A and B of the shapes that LoRA has for
    a layer of that kind: (r, d_in) and (d_out, r), unless a subclass makes others in `low_rank`.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, equation 5; A Kaiming-uniform, B zero, g standard normal.
    """

    adapter_layer_names = ("sora_A", "sora_B", "sora_gate")
    other_param_names = ("sora_dropout", "sora_scaling")
    lora_names: ClassVar[tuple[str, str]] = ("lora_A.weight", "lora_B.weight")
    """peft's names for A and B in a LoRA of a layer of this kind."""

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
        """Make A (r, d_in) and B (d_out, r), not initialised."""
        return torch.empty(r, self.in_features), torch.empty(self.out_features, r)

    def start(self, a: Tensor, b: Tensor, init_weights: bool) -> None:
        """Start A Kaiming-uniform and B at zero; without `init_weights`, B as A."""
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        nn.init.zeros_(b) if init_weights else nn.init.kaiming_uniform_(b, a=math.sqrt(5))

    def parts(self) -> dict[str, "SoRALayer"]:
        """Name the layers inside this one that belong to the same target and have its rank; usually none."""
        return {}

    def update_layer(self, adapter_name: str, config: SoRAConfig, module_name: str) -> None:
        """Make the parameters of an adapter."""
        r = config.rank_of(module_name)
        a, b = self.low_rank(r)
        self.sora_gate[adapter_name] = nn.Parameter(torch.randn(r))
        self.start(a, b, config.init_weights)
        self.sora_A[adapter_name], self.sora_B[adapter_name] = nn.Parameter(a), nn.Parameter(b)
        self.sora_dropout[adapter_name] = (
            nn.Dropout(config.lora_dropout) if config.lora_dropout else nn.Identity()
        )
        self.sora_scaling[adapter_name] = config.scaling_of(module_name)
        self.place_adapter(adapter_name, config)

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the base weight.

            (lora_alpha / r) B diag(g) A

        Args:
            adapter_name: the adapter.

        Returns:
            In the layout of the base weight: (d_out, d_in), for Conv1D and embeddings (d_in, d_out).
        """
        gated = self.sora_B[adapter_name] * self.sora_gate[adapter_name]
        delta = (gated @ self.sora_A[adapter_name]) * self.sora_scaling[adapter_name]
        return delta.T if self.is_transposed else delta

    @torch.no_grad()
    def lora_tensors(self, adapter_name: str) -> dict[str, Tensor]:
        """Give the LoRA that computes the same, of the ranks whose gates are not zero and with a scale of 1.

        Args:
            adapter_name: the adapter; at least one of its gates is not zero.

        Returns:
            peft's name of the tensor -> A (its ranks first), then B; copies.
        """
        a, b, gate = (getattr(self, name)[adapter_name] for name in self.adapter_layer_names)
        keep = gate != 0
        factor = (gate[keep] * self.sora_scaling[adapter_name]).view(-1, *[1] * (b.dim() - 2))
        return dict(zip(self.lora_names, (a[keep], b[:, keep] * factor), strict=True))


class SoRALinear(SoRALayer, LinearAdapterLayer):
    """A frozen linear layer with a gated low-rank branch.

    `sora_A` (r, d_in) and `sora_B` (d_out, r): with the gate, r (d_in + d_out + 1) parameters.
    """

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute (lora_alpha / r) B (g * (A dropout(x))): x (..., d_in) -> (..., d_out)."""
        a, b = self.sora_A[adapter_name], self.sora_B[adapter_name]
        x = self.sora_dropout[adapter_name](self._cast_input_dtype(x, a.dtype))
        gated = functional.linear(x, a) * self.sora_gate[adapter_name]
        return functional.linear(gated, b) * self.sora_scaling[adapter_name]
