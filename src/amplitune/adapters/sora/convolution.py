"""The SoRA branch of one convolution."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from amplitune.adapters.layers.convolution_layer import ConvolutionAdapterLayer
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class SoRAConvolution(SoRALayer, ConvolutionAdapterLayer):
    """A frozen convolution with a gated low-rank branch.

        y = W0 * x (+ b0) + (lora_alpha / r) B (g * (A * dropout(x)))

    `sora_A` (r, in_channels / groups, *kernel_size) is a convolution of the base layer's stride, padding and
    dilation to r channels; the gates scale these; `sora_B` (out_channels, r / groups, 1...) maps each
    position to the output channels. Both have the groups of the base layer, so that the branch is a change of
    its weight; a group has r / groups ranks. (A of peft's LoRA reads all groups and cannot be merged then.)
    """

    @classmethod
    def check_module(cls, config: SoRAConfig, module: nn.Module, module_name: str) -> None:
        """Raise ConfigError when the ranks cannot be shared out among the groups."""
        super().check_module(config, module, module_name)
        convolution: Any = module
        r = config.rank_of(module_name)
        if r % convolution.groups:
            raise ConfigError(
                f"`r` must be divisible by the {convolution.groups} groups of the convolution {module_name}, "
                f"but is {r}. Give it a rank of its own in `rank_pattern`, or exclude it with "
                "`exclude_modules`."
            )

    def low_rank(self, r: int) -> tuple[Tensor, Tensor]:
        """Make A (r, in_channels / groups, *kernel_size) and B (out_channels, r / groups, 1...)."""
        base: Any = self.get_base_layer()
        ones = [1] * len(base.kernel_size)
        return (
            torch.empty(r, self.in_features // base.groups, *base.kernel_size),
            torch.empty(self.out_features, r // base.groups, *ones),
        )

    def branch(self, x: Tensor, adapter_name: str) -> Tensor:
        """Compute (lora_alpha / r) B (g * (A * dropout(x))), of the shape of the base layer's output."""
        base: Any = self.get_base_layer()
        a, b = self.sora_A[adapter_name], self.sora_B[adapter_name]
        x = self.sora_dropout[adapter_name](self._cast_input_dtype(x, a.dtype))
        # The base layer's own convolution, and with it all that it does to the edges.
        ranks = base._conv_forward(x, a, None)
        gated = ranks * self.sora_gate[adapter_name].view(-1, *b.shape[2:])
        convolve = _CONVOLVE[len(base.kernel_size)]
        return convolve(gated, b, groups=base.groups) * self.sora_scaling[adapter_name]

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """Compute what the adapter adds to the base weight.

            (lora_alpha / r) B diag(g) A, group by group

        Args:
            adapter_name: the adapter.

        Returns:
            Shape (out_channels, in_channels / groups, *kernel_size).
        """
        base: Any = self.get_base_layer()
        a, b, gate = (getattr(self, name)[adapter_name] for name in self.adapter_layer_names)
        per_group = len(gate) // base.groups
        gated = b.view(base.groups, -1, per_group) * gate.view(base.groups, 1, per_group)
        delta = gated @ a.reshape(base.groups, per_group, -1)
        return delta.reshape(self.out_features, *a.shape[1:]) * self.sora_scaling[adapter_name]

    @torch.no_grad()
    def lora_tensors(self, adapter_name: str) -> dict[str, Tensor]:
        """Give the LoRA of the ranks that have a gate; see SoRALayer.

        peft's A reads all input channels: with groups, it has zeros for those of the others, and the group
        with the most ranks decides how many each of them has.

        Raises:
            ConfigError: the base layer has a dilation or a padding mode, which peft's A would not have.
        """
        base: Any = self.get_base_layer()
        groups = base.groups
        if base.padding_mode != "zeros" or set(base.dilation) != {1}:
            raise ConfigError(
                "A SoRA adapter can become a LoRA around convolutions with padding_mode='zeros' and dilation "
                f"1, but one has padding_mode={base.padding_mode!r} and dilation {base.dilation}, which "
                "peft's LoRA does not take over. Merge the adapter instead (merge_and_unload)."
            )
        if groups == 1:
            return super().lora_tensors(adapter_name)
        a, b, gate = (getattr(self, name)[adapter_name] for name in self.adapter_layer_names)
        keep = gate.view(groups, -1) != 0
        ranks = int(keep.sum(dim=1).max())
        lora_a = a.new_zeros(groups * ranks, self.in_features, *base.kernel_size)
        lora_b = b.new_zeros(self.out_features, ranks, *b.shape[2:])
        a, factor = a.unflatten(0, (groups, -1)), gate.view(groups, -1) * self.sora_scaling[adapter_name]
        channels, outputs = a.shape[2], self.out_features // groups
        for group, kept in enumerate(keep):
            own = slice(group * outputs, (group + 1) * outputs)
            rows = slice(group * ranks, group * ranks + int(kept.sum()))
            lora_a[rows, group * channels : (group + 1) * channels] = a[group, kept]
            scaled = b[own][:, kept] * factor[group, kept].view(-1, *b.shape[2:])
            lora_b[own, : int(kept.sum())] = scaled
        return {"lora_A.weight": lora_a, "lora_B.weight": lora_b}
