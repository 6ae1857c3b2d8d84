"""The shapes of a model that the sizes of adapters follow from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True)
class Site:
    """One module that a method adapts.

    Args:
        name: its name in the model.
        d_in: width of its input.
        d_out: width of its output.
        bias: 1 if it has a bias, otherwise 0.
    """

    name: str
    d_in: int
    d_out: int
    bias: int
    groups: int | None = None

    @property
    def kind(self) -> tuple[str, int, int]:
        """What modules of several layers have in common: the last part of the name, and the shape."""
        return (self.name.rsplit(".", 1)[-1], self.d_in, self.d_out)

    def names(self) -> dict[str, float]:
        """The site as names of a formula."""
        return {"d_in": self.d_in, "d_out": self.d_out, "bias": self.bias}


def model_names(model: PreTrainedModel) -> dict[str, float]:
    """What formulas can say of the whole model.

    Args:
        model: any, on the meta device too.

    Returns:
        `d` (width of the hidden state), `layers`, `kv` (width of all keys of a token), `total` (parameters).
    """
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return {
        "d": config.hidden_size,
        "layers": config.num_hidden_layers,
        "kv": groups * head,
        "total": sum(parameter.numel() for parameter in model.parameters()),
    }


def adapted_sites(model: PreTrainedModel, config: peft.PeftConfig) -> list[Site]:
    """The modules that an adapter goes to.

    Args:
        model: the bare model.
        config: the adapter's config; unset targets are peft's own for the kind of model.

    Returns:
        The modules, in the model's order; none for methods that adapt no modules or do not know this model.
    """
    if not hasattr(config, "target_modules"):
        return []
    targets = config.target_modules
    if targets is None:
        tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[peft.PeftType(config.peft_type)]
        mapping: Mapping[str, list[str]] = getattr(tuner, "target_module_mapping", {})
        targets = set(mapping.get(model.config.model_type, ()))
    if not targets:
        return []
    asked = type(config).__new__(type(config))
    asked.__dict__ = {**config.__dict__, "target_modules": targets}
    return [
        site
        for name, module in model.named_modules()
        if _is_asked(asked, name)
        for site in _sites(name, module)
    ]


def kinds(sites: list[Site]) -> list[tuple[Site, int]]:
    """One site of each kind, with how many of that kind there are."""
    counts = Counter(site.kind for site in sites)
    first = {site.kind: site for site in reversed(sites)}
    return [(first[kind], count) for kind, count in counts.items()]


def _is_asked(config: peft.PeftConfig, name: str) -> bool:
    # peft answers with an object that is false for a module that is excluded.
    return bool(name) and bool(check_target_module_exists(config, name))


def _sites(name: str, module: nn.Module) -> list[Site]:
    if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
        # One target with two weights: that of query, key and value, and that of the output.
        d, bias = module.embed_dim, int(module.in_proj_bias is not None)
        return [Site(name, d, 3 * d, bias), Site(name, d, d, bias)]
    weight: Any = getattr(module, "weight", None)
    if weight is None:
        return []
    bias = int(getattr(module, "bias", None) is not None)
    if weight.dim() == 1:
        return [Site(name, len(weight), len(weight), bias)]
    rows, columns = weight.flatten(1).shape
    # GPT-2's projections keep their weight transposed; an embedding's rows are its inputs.
    transposed = isinstance(module, Conv1D | nn.Embedding)
    d_in, d_out = (rows, columns) if transposed else (columns, rows)
    return [Site(name, d_in, d_out, bias, getattr(module, "groups", None))]
