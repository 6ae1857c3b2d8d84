"""SoRA's layer: its formula, its start, and merging."""

from typing import Any

import pytest
import torch
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from amplitune import SoRAConfig
from amplitune.adapters.sora.layer import SoRALinear
from amplitune.errors import ConfigError


def layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, SoRALinear)]


@pytest.mark.parametrize("base", [nn.Linear(6, 4), Conv1D(4, 6)], ids=["Linear", "Conv1D"])
def test_the_layer_computes_its_formula(base: nn.Module) -> None:
    config = SoRAConfig(r=3, lora_alpha=5, target_modules=["0"], init_weights=False)
    base = base.double()
    layer: Any = SoRALinear(base, "default", config, "0")
    x = torch.randn(5, 6, dtype=torch.float64)
    a, b, gate = (getattr(layer, name)["default"] for name in layer.adapter_layer_names)
    assert (a.shape, b.shape, gate.shape) == ((3, 6), (4, 3), (3,))
    weight: Any = base.weight
    w0 = weight if isinstance(base, nn.Linear) else weight.T
    expected = x @ (w0 + 5 / 3 * b @ torch.diag(gate) @ a).T + base.bias
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        x @ (layer.get_delta_weight("default").T if w0 is weight else layer.get_delta_weight("default"))
        + base(x),
        expected,
    )


def test_the_start_is_that_of_the_paper() -> None:
    config = SoRAConfig(r=4000, target_modules=["0"])
    layer = SoRALinear(nn.Linear(16, 2), "default", config, "0")
    gate, a = layer.sora_gate["default"].detach(), layer.sora_A["default"].detach()
    assert abs(float(gate.mean())) < 0.1
    assert abs(float(gate.std()) - 1) < 0.1
    # Kaiming-uniform with a = sqrt(5), as for LoRA's A: bound 1 / sqrt(d_in).
    assert 0.24 < float(a.abs().max()) <= 0.25
    assert not layer.sora_B["default"].any()


def test_dropout_acts_in_training_only() -> None:
    config = SoRAConfig(target_modules=["0"], lora_dropout=0.5, init_weights=False)
    layer = SoRALinear(nn.Linear(16, 2), "default", config, "0")
    x = torch.ones(1, 16)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_and_unmerge(architecture: Architecture, wrap: Wrap, tokens: Tensor, safe_merge: bool) -> None:
    model: Any = wrap("sora", architecture)
    adapted = logits(model, tokens)
    weights = [layer.get_base_layer().weight.clone() for layer in layers(model)]
    model.merge_adapter(safe_merge=safe_merge)
    assert all(layer.merged for layer in layers(model))
    torch.testing.assert_close(logits(model, tokens), adapted)
    assert not any(
        torch.equal(layer.get_base_layer().weight, weight)
        for layer, weight in zip(layers(model), weights, strict=True)
    )
    with pytest.warns(UserWarning, match="already merged"):
        model.merge_adapter()
    model.unmerge_adapter()
    for layer, weight in zip(layers(model), weights, strict=True):
        torch.testing.assert_close(layer.get_base_layer().weight, weight)
    torch.testing.assert_close(logits(model, tokens), adapted)
    with pytest.warns(UserWarning, match="Already unmerged"):
        model.unmerge_adapter()


def test_disabling_a_merged_adapter_unmerges_it(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap("sora", llama)
    model.merge_adapter()
    with model.disable_adapter():
        torch.testing.assert_close(logits(model, tokens), logits(llama.model(), tokens))


def test_merge_and_unload(architecture: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model: Any = wrap("sora", architecture)
    adapted = logits(model, tokens)
    plain = model.merge_and_unload()
    assert type(plain) is type(architecture.model())
    assert plain.state_dict().keys() == architecture.model().state_dict().keys()
    torch.testing.assert_close(logits(plain, tokens), adapted)


def test_merging_two_adapters(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model: Any = wrap("sora", llama)
    model.add_adapter("second", make_config("sora", llama, r=2))
    model.eval().base_model.set_adapter(["default", "second"])
    adapted = logits(model, tokens)
    model.merge_adapter(["default"])
    model.merge_adapter(["second"])
    assert layers(model)[0].merged_adapters == ["default", "second"]
    torch.testing.assert_close(logits(model, tokens), adapted)


def test_safe_merge_refuses_a_broken_adapter_and_leaves_the_weight(llama: Architecture, wrap: Wrap) -> None:
    model: Any = wrap("sora", llama)
    layer = layers(model)[0]
    weight = layer.get_base_layer().weight.clone()
    with torch.no_grad():
        layer.sora_B["default"][0, 0] = torch.inf
    with pytest.raises(ConfigError, match="`safe_merge` needs finite weights"):
        model.merge_adapter(safe_merge=True)
    assert torch.equal(layer.get_base_layer().weight, weight)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"r": 0}, "`r` must be a positive integer, but is 0"),
        ({"r": 2.5}, "`r` must be a positive integer, but is 2.5"),
        ({"lora_alpha": 0}, "`lora_alpha` must be above 0"),
        ({"rank_pattern": {"q_proj": 0}}, "`rank_pattern` has for 'q_proj' .*`r` must be a positive integer"),
        ({"rank_pattern": {"q_(proj": 2}}, "`rank_pattern` must have .* regular expression"),
        (
            {"alpha_pattern": {"q_proj": -1.0}},
            "`alpha_pattern` has for 'q_proj' .*`lora_alpha` must be above 0",
        ),
        ({"alpha_pattern": [4]}, r"`alpha_pattern` must be a mapping, but is \[4\]"),
        ({"lora_dropout": 1.0}, "`lora_dropout` must be"),
        ({"sparse_lambda": -1.0}, "`sparse_lambda` must be at least 0"),
        ({"threshold": "lamda"}, "`threshold` must be .* Did you mean 'lambda'"),
        ({"threshold_rule": "sofd"}, "`threshold_rule` must be .* Did you mean 'soft'"),
        ({"lambda_schedule": "loglinear"}, "`lambda_schedule` must be .* 'log-linear'"),
        ({"lambda_num_steps": 5}, "`lambda_num_steps` must be left unset"),
        ({"lambda_end": 1.0}, "`lambda_end` must be left unset"),
        ({"lambda_schedule": "linear", "lambda_end": 1.0}, "`lambda_num_steps` must be a positive integer"),
        ({"lambda_schedule": "linear", "lambda_num_steps": 5}, "`lambda_end` must be at least 0"),
        (
            {"lambda_schedule": "log-linear", "lambda_num_steps": 5, "lambda_end": 0.0},
            "must be above 0 with lambda_schedule: 'log-linear'",
        ),
    ],
)
def test_a_wrong_value_is_an_error_before_there_is_a_model(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SoRAConfig(**fields)
