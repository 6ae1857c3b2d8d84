"""The SoRA branch of torch's multi-head attention."""

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from amplitune.adapters.layers.quantized_base import find_backend
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.layer import SoRALayer, SoRALinear
from amplitune.adapters.sora.lora_attention import check_lora_attention
from amplitune.errors import ConfigError

_OUT_PROJ = "base_layer.out_proj"


def _of_base(name: str) -> Any:
    """Show an attribute of the base layer, which models read."""
    return property(lambda layer: getattr(layer.get_base_layer(), name))


def _change(whole: SoRALayer, layer: SoRALayer) -> tuple[dict[str, Any], str, Tensor]:
    """Put a weight with the active adapters added in a base layer's weight's place, unless some are merged.

    Args:
        whole: the attention's layer, whose active adapters count.
        layer: the layer of one weight.

    Returns:
        The dictionary that has the weight, its name in it, and the weight to put back.
    """
    base, name = layer.get_base_layer(), layer.weight_name
    # FSDP shows a whole weight as an attribute in front of the parameter, which is its own part of it.
    weights: dict[str, Any] = base.__dict__ if name in base.__dict__ else base._parameters
    weight = total = weights[name]
    adapters = [] if layer.merged else [key for key in whole.active_adapters if layer.has_adapter(key)]
    if adapters and weight.is_meta:
        raise ConfigError(
            "The weights of an adapted MultiheadAttention must be where it computes, but accelerate has them "
            "elsewhere, and brings them too late for a change. Keep the attention out of offloading with "
            "`device_map`, or exclude it with `exclude_modules`."
        )
    for adapter_name in adapters:
        total = total + layer.get_delta_weight(adapter_name)
    weights[name] = total.to(weight.dtype)
    return weights, name, weight


class SoRAOutProjection(SoRALinear):
    """The output projection of an attention, whose layer calls `merge` and `unmerge` before peft does."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add what is not merged yet to the weight; see MergeableLayer."""
        names = self.active_adapters if adapter_names is None else adapter_names
        if not set(names) <= set(self.merged_adapters):
            super().merge(safe_merge, names)

    def unmerge(self) -> None:
        """Subtract what is still merged."""
        if self.merged:
            super().unmerge()


class SoRAMultiheadAttention(SoRALayer):
    """A frozen multi-head attention whose projections get gated low-rank changes.

        W_in <- W_in + (lora_alpha / r) B diag(g) A,   W_in (3 embed_dim, embed_dim): of query, key and value
        W_out <- W_out + (lora_alpha / r) B' diag(g') A',   W_out (embed_dim, embed_dim)

    `sora_A` (r, embed_dim), `sora_B` (3 embed_dim, r) and `sora_gate` (r,) belong to W_in; `out_proj` is a
    SoRAOutProjection with its own. Both have the target's rank, as in peft's LoRA, and pruning keeps as many
    ranks in both as the fuller one has.

    torch reads these weights inside one function, so that there is no output of a projection to add to: that
    function runs on the changed weights, which are made anew for each call and rounded to the base layer's
    dtype. Masks, attention weights, dropout and torch's fast path are its own. There is no dropout before A
    (`lora_dropout` must be 0), and rows of a batch cannot have different adapters.
    """

    wraps = (nn.MultiheadAttention,)
    weight_name = "in_proj_weight"

    embed_dim = _of_base("embed_dim")
    kdim = _of_base("kdim")
    vdim = _of_base("vdim")
    num_heads = _of_base("num_heads")
    head_dim = _of_base("head_dim")
    dropout = _of_base("dropout")
    batch_first = _of_base("batch_first")
    add_zero_attn = _of_base("add_zero_attn")
    merge_masks = _of_base("merge_masks")
    in_proj_weight = _of_base("in_proj_weight")
    in_proj_bias = _of_base("in_proj_bias")
    bias_k = _of_base("bias_k")
    bias_v = _of_base("bias_v")
    _qkv_same_embed_dim = _of_base("_qkv_same_embed_dim")

    @property
    def out_proj(self) -> nn.Module:
        """The base layer's output projection, without its adapters."""
        projection: nn.Module = self._projection.get_base_layer()
        return projection

    @property
    def _projection(self) -> SoRAOutProjection:
        layer: Any = self.get_base_layer().out_proj
        assert isinstance(layer, SoRAOutProjection)
        return layer

    @classmethod
    def features(cls, module: nn.Module, module_name: str) -> tuple[int, int]:
        """Find the widths of the input projection.

        Raises:
            ConfigError: query, key and value have weights of their own, or a weight is computed from other
                tensors, quantised, or already adapted by another method.

        Example:
            >>> SoRAMultiheadAttention.features(nn.MultiheadAttention(8, 2), "")
            (8, 24)
        """
        attention: Any = module
        if attention.in_proj_weight is None:
            raise ConfigError(
                "Only same embed for query/key/value is supported as of now for MultiheadAttention, but "
                f"{module_name} has embed_dim={attention.embed_dim}, kdim={attention.kdim} and "
                f"vdim={attention.vdim}, and so three weights instead of one. Take it out of "
                "`target_modules`, or train it in full with `modules_to_save`."
            )
        projection = attention.out_proj
        if isinstance(projection, SoRAOutProjection):
            projection = projection.get_base_layer()
        reason = ""
        if isinstance(projection, BaseTunerLayer):
            reason = "already has an adapter of another method in its out_proj"
        elif not isinstance(projection, nn.Linear):
            reason = f"has {type(projection).__name__} as its out_proj"
        elif find_backend(projection) is not None:
            reason = "has a quantised out_proj"
        elif is_parametrized(attention, "in_proj_weight") or is_parametrized(projection, "weight"):
            reason = "computes a weight from other tensors (torch.nn.utils.parametrize)"
        if reason:
            raise ConfigError(
                "`target_modules` must name attentions whose weights are plain parameters, as they are to be "
                f"changed, but {module_name} {reason}. Take it out of `target_modules`, or exclude it with "
                "`exclude_modules`."
            )
        return attention.embed_dim, 3 * attention.embed_dim

    @classmethod
    def check_module(cls, config: SoRAConfig, module: nn.Module, module_name: str) -> None:
        """Raise ConfigError when an adapter of this config cannot go around `module`."""
        super().check_module(config, module, module_name)
        if config.lora_dropout:
            raise ConfigError(
                f"`lora_dropout` must be 0 for {module_name}, but is {config.lora_dropout}: in a "
                "MultiheadAttention, only weights are changed, and A has no input to drop from. Set it to 0, "
                "or exclude the attention with `exclude_modules`."
            )

    def update_layer(self, adapter_name: str, config: SoRAConfig, module_name: str) -> None:
        """Make the parameters of an adapter, here and in the output projection."""
        super().update_layer(adapter_name, config, module_name)
        base: Any = self.get_base_layer()
        if isinstance(base.out_proj, SoRAOutProjection):
            base.out_proj.update_layer(adapter_name, config, module_name)
        else:
            base.out_proj = SoRAOutProjection(base.out_proj, adapter_name, config, module_name)

    def parts(self) -> dict[str, SoRALayer]:
        """Name the output projection."""
        return {_OUT_PROJ: self._projection}

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        attention: Any = base_layer
        return attention.in_proj_weight.device, attention.in_proj_weight.dtype

    # torch calls its first input `query`, and so do models.
    def forward(  # type: ignore[override]
        self, query: Tensor, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any
    ) -> Any:
        """Attend with the changed weights of the active adapters.

        Args:
            query: the base layer's first input.
            *args: passed on to the base layer.
            adapter_names: must be None.
            **kwargs: passed on to the base layer.

        Returns:
            What the base layer returns: the output, and the attention weights or None.

        Raises:
            ConfigError: the batch is to mix adapters, or accelerate has the weights elsewhere.
        """
        if adapter_names is not None:
            raise ConfigError(
                "`adapter_names` must be left unset in a model with an adapted MultiheadAttention, which has "
                "one weight for all rows of a batch. Run one batch for each adapter, with set_adapter."
            )
        if self.disable_adapters and self.merged:
            self.unmerge()
        kept: list[tuple[dict[str, Any], str, Tensor]] = []
        try:
            for layer in () if self.disable_adapters else (self, self._projection):
                kept.append(_change(self, layer))
            return self.base_layer(query, *args, **kwargs)
        finally:
            for weights, name, weight in kept:
                weights[name] = weight

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters to both weights; see MergeableLayer."""
        names = list(self.active_adapters if adapter_names is None else adapter_names)
        super().merge(safe_merge, adapter_names)
        self._projection.merge(safe_merge, names)

    def unmerge(self) -> None:
        """Subtract the merged adapters from both weights."""
        super().unmerge()
        self._projection.unmerge()

    def unload_and_optionally_merge_module(
        self, merge: bool, safe_merge: bool, adapter_names: list[str] | None
    ) -> nn.Module:
        """Give the base layer back with a plain output projection; peft calls this by its name.

        Args:
            merge: whether to merge before.
            safe_merge: see `merge`.
            adapter_names: see `merge`.
        """
        if merge:
            self.merge(safe_merge, adapter_names)
        base: Any = self.get_base_layer()
        base.out_proj = self.out_proj
        attention: nn.Module = base
        return attention

    @torch.no_grad()
    def lora_tensors(self, adapter_name: str) -> dict[str, Tensor]:
        """Give the LoRA of the ranks that have a gate in either projection; see SoRALayer.

        peft's LoRA has one rank for both: the one with fewer gates is filled up with zeros.

        Raises:
            ConfigError: the output projection has gates, and the installed peft would add its change twice.
        """
        if self._projection.sora_gate[adapter_name].any():
            check_lora_attention()
        a, b = super().lora_tensors(adapter_name).values()
        out_a, out_b = self._projection.lora_tensors(adapter_name).values()
        rank = max(len(a), len(out_a))
        a, out_a = (functional.pad(rows, (0, 0, 0, rank - len(rows))) for rows in (a, out_a))
        b, out_b = (functional.pad(columns, (0, rank - columns.shape[1])) for columns in (b, out_b))
        names = (*self.lora_names, *(f"{_OUT_PROJ}.{name}" for name in self.lora_names))
        return dict(zip(names, (a, b, out_a, out_b), strict=True))
