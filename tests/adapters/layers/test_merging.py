"""Merging all layers of a model or none, and what is no name of an adapter."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn
from torch.nn.utils import prune

from amplitune.adapters.layers.merging import MergeableLayer
from amplitune.errors import ConfigError, NotMergeableError


@pytest.mark.parametrize("call", ["merge_adapter", "merge_and_unload"])
def test_a_name_of_no_adapter_is_refused(llama: Architecture, wrap: Wrap, tokens: Tensor, call: str) -> None:
    model: Any = wrap("sora", llama)
    adapted = logits(model, tokens)
    for names, message in (
        (["defualt"], "'defualt' does not exist. Did you mean 'default'"),
        (["default", "other"], "'other' does not exist"),
        ("default", r"be a list of names of adapters, but is 'default'. Give \['default'\]"),
    ):
        with pytest.raises(ConfigError, match=f"`adapter_names` must .*{message}"):
            getattr(model, call)(adapter_names=names)
    assert not model.base_model.model.model.layers[0].self_attn.q_proj.merged
    assert torch.equal(logits(model, tokens), adapted)


def test_a_name_of_no_adapter_cannot_be_activated(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model: Any = wrap(method, llama)
    adapted = logits(model, tokens)
    with pytest.raises(ConfigError, match="`adapter_name` must name adapters of the model, but 'b' does not"):
        model.base_model.set_adapter(["default", "b"])
    assert model.active_adapters == ["default"]
    assert torch.equal(logits(model, tokens), adapted)


@pytest.mark.parametrize("call", ["merge_adapter", "merge_and_unload"])
def test_safe_merge_merges_no_layer_where_one_is_not_finite(
    llama: Architecture, wrap: Wrap, tokens: Tensor, call: str
) -> None:
    model: Any = wrap("sora", llama)
    before = logits(model, tokens)
    layers = [layer for layer in model.modules() if isinstance(layer, MergeableLayer)]
    gate: Any = layers[-1].get_parameter("sora_gate.default")
    kept = gate[0].item()
    gate.data[0] = torch.inf
    with pytest.raises(ConfigError, match="NaNs detected in the merged weights"):
        getattr(model, call)(safe_merge=True)
    assert len(layers) == 4
    assert not any(layer.merged for layer in layers)
    gate.data[0] = kept
    assert torch.equal(logits(model, tokens), before)
    merged = getattr(model, call)(safe_merge=True) or model
    torch.testing.assert_close(logits(merged, tokens), before)


COMPUTED: dict[str, Callable[[nn.Linear], Any]] = {
    "weight_norm": nn.utils.weight_norm,
    "weight_norm as a parametrization": nn.utils.parametrizations.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("compute", COMPUTED.values(), ids=COMPUTED)
def test_a_weight_that_is_computed_cannot_be_merged_into(
    llama: Architecture, make_config: MakeConfig, compute: Callable[[nn.Linear], Any]
) -> None:
    net = nn.ModuleDict({"layer": compute(nn.Linear(4, 3))}).eval()
    config = make_config("sora", llama, target_modules=["layer"], task_type=None)
    model: Any = get_peft_model(net, config).eval()
    layer, x = model.base_model.model["layer"], torch.randn(2, 4)
    adapted = layer(x)
    with pytest.raises(NotMergeableError, match="computes its weight from other tensors"):
        model.merge_adapter()
    assert torch.equal(layer(x), adapted)
