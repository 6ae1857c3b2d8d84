"""Merging QAA's linear readout: the same logits as beside the base layer; everything else is refused."""

import copy
from collections import OrderedDict
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import Architecture, Wrap
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal
from transformers.pytorch_utils import Conv1D

from amplitune import ControlConfig, QAAConfig
from amplitune.adapters.qaa.layer import QAALinear
from amplitune.errors import ConfigError, NotMergeableError

LINEAR: dict[str, Any] = {"readout": "interferometric", "norm": "restore", "init_weights": False}
CIRCUITS: list[dict[str, Any]] = [
    {},
    {"rotation": "Rot", "depth": 2, "circuits": 2, "scaling": -0.7},
    {"rotation": "RYRZ", "entangler": "all-to-all", "entangling_gate": "CZ", "n_qubits": 4},
]


@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize("base", [nn.Linear(6, 5), Conv1D(5, 6)], ids=["Linear", "Conv1D"])
def test_the_merged_layer_computes_the_same(base: nn.Module, circuit: dict[str, Any]) -> None:
    layer = QAALinear(copy.deepcopy(base).double(), "default", QAAConfig(**LINEAR, **circuit), "0")
    x = torch.randn(2, 7, 6, dtype=torch.float64) * 10
    x[0, 0] = 0
    before, weight = layer(x), layer.get_base_weight().clone()
    layer.merge()
    assert layer.merged_adapters == ["default"]
    torch.testing.assert_close(layer.base_layer(x), before, rtol=1e-12, atol=1e-12)
    assert torch.equal(layer(x), layer.base_layer(x))
    assert (layer.get_base_weight() - weight).abs().max() > 0.01
    layer.unmerge()
    torch.testing.assert_close(layer.get_base_weight(), weight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer(x), before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("safe_merge", [False, True])
def test_the_merged_model_computes_the_same(
    architecture: Architecture, wrap: Wrap, tokens: Tensor, safe_merge: bool
) -> None:
    fields = LINEAR | {"up_proj_bias": architecture.name != "llama"}
    model: Any = wrap("qaa", architecture, **fields)
    second = copy.deepcopy(model.peft_config["default"])
    second.scaling, second.depth = 0.5, 2
    model.add_adapter("second", second)
    # peft activates one adapter with a saved classifier at a time.
    model.base_model.set_adapter(["second"] if architecture.modules_to_save else ["default", "second"])
    model.eval()
    expected, state = model(tokens).logits, copy.deepcopy(model.state_dict())
    model.merge_adapter(safe_merge=safe_merge)
    torch.testing.assert_close(model(tokens).logits, expected, rtol=1e-4, atol=1e-5)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, state[name])]
    assert changed
    assert all("base_layer" in name for name in changed)
    model.unmerge_adapter()
    torch.testing.assert_close(model(tokens).logits, expected, rtol=1e-4, atol=1e-5)
    merged = model.merge_and_unload(safe_merge=safe_merge)
    assert not [name for name, _ in merged.named_parameters() if "qaa_" in name]
    torch.testing.assert_close(merged(tokens).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "nature"),
    [
        ({"readout": "Z", "norm": "drop"}, r"z are quadratic in the input x and divided by \|x\|\^2, so"),
        ({"readout": "Z", "norm": "restore"}, r"z are quadratic in the input x and divided by \|x\|, so"),
        ({"readout": "interferometric", "norm": "drop"}, r"z are divided by \|x\|, so"),
    ],
)
def test_what_is_not_linear_is_refused_with_its_reason(fields: dict[str, Any], nature: str) -> None:
    layer = QAALinear(nn.Linear(6, 5), "default", QAAConfig(**LINEAR | fields), "0")
    for attempt in (layer.merge, lambda: layer.get_delta_weight("default")):
        with pytest.raises(NotMergeableError, match=rf"{nature}.* train with readout: 'interferometric'"):
            attempt()


def test_a_bias_needs_a_base_layer_with_a_bias() -> None:
    layer = QAALinear(nn.Linear(6, 5, bias=False), "default", QAAConfig(**LINEAR), "0")
    with pytest.raises(
        NotMergeableError, match=r"`up_proj_bias` must be false .* a Linear \(6 to 5\) without"
    ):
        layer.merge()
    free = QAALinear(nn.Linear(6, 5, bias=False), "default", QAAConfig(**LINEAR, up_proj_bias=False), "0")
    x = torch.randn(3, 6)
    expected = free(x)
    free.merge()
    torch.testing.assert_close(free.base_layer(x), expected, rtol=1e-4, atol=1e-5)


def test_safe_merge_refuses_infinities_and_keeps_the_weights() -> None:
    layer = QAALinear(nn.Linear(6, 5), "default", QAAConfig(**LINEAR), "0")
    with torch.no_grad():
        layer.qaa_up_proj["default"][0, 0] = torch.inf
    before = layer.get_base_weight().clone()
    with pytest.raises(ConfigError, match="`safe_merge` needs finite weights"):
        layer.merge(safe_merge=True)
    assert torch.equal(layer.get_base_weight(), before)
    assert not layer.merged


def _unchanged_after(model: Any, attempts: list[Any]) -> None:
    before = copy.deepcopy(model.state_dict())
    for attempt in attempts:
        with pytest.raises(NotMergeableError):
            attempt()
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    "config",
    [
        QAAConfig(**LINEAR, target_modules=["proj"]),
        ControlConfig(features="projection", up_proj_bias=False, init_weights=False, target_modules=["proj"]),
    ],
    ids=["QAA", "CONTROL"],
)
def test_a_computed_weight_takes_an_adapter_but_no_merge(config: Any) -> None:
    model: Any = get_peft_model(nn.Sequential(OrderedDict(proj=orthogonal(nn.Linear(6, 6)))), config)
    x = torch.randn(3, 6)
    adapted = model(x)
    with pytest.raises(NotMergeableError, match="computes its weight from other tensors"):
        model.merge_and_unload()
    assert torch.equal(model(x), adapted)


@pytest.mark.parametrize(
    ("config", "other"),
    [
        # The first module can be merged, a later one cannot.
        (QAAConfig(**LINEAR, target_modules=["0", "1"], readout_pattern={"1": "Z"}), None),
        # The active adapter can be merged, the one that is asked for cannot.
        (QAAConfig(**LINEAR, target_modules=["0"]), QAAConfig(target_modules=["1"])),
        (
            ControlConfig(features="projection", target_modules=["0"]),
            ControlConfig(features="squares", target_modules=["1"]),
        ),
    ],
)
def test_where_one_cannot_be_merged_nothing_is(config: Any, other: Any) -> None:
    model: Any = get_peft_model(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), config)
    names = None
    if other is not None:
        model.add_adapter("other", other)
        names = ["default", "other"]
    _unchanged_after(
        model,
        [
            lambda: model.merge_adapter(adapter_names=names),
            lambda: model.merge_and_unload(adapter_names=names),
        ],
    )
    if other is not None:
        model.merge_adapter(adapter_names=["default"])
        assert model.get_layer_status()[0].merged_adapters == ["default"]


def test_an_adapter_in_half_precision_merges() -> None:
    model: Any = get_peft_model(
        nn.Sequential(nn.Linear(6, 5)).to(torch.bfloat16), QAAConfig(**LINEAR, target_modules=["0"])
    )
    x = torch.randn(4, 6, dtype=torch.bfloat16)
    expected = model(x)
    merged = model.merge_and_unload()
    assert merged[0].weight.dtype == torch.bfloat16
    torch.testing.assert_close(merged(x), expected, rtol=0.05, atol=0.05)
