"""Which modules get an adapter, and what a wrong target says."""

from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from torch import nn

from amplitune.adapters.layers.linear_layer import LinearAdapterLayer
from amplitune.errors import ConfigError

LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapted(model: nn.Module) -> set[str]:
    prefix = "base_model.model."
    return {
        name.removeprefix(prefix)
        for name, module in model.named_modules()
        if isinstance(module, LinearAdapterLayer)
    }


def attention(*pairs: tuple[int, str]) -> set[str]:
    return {f"model.layers.{layer}.self_attn.{name}" for layer, name in pairs}


TARGETS: list[tuple[dict[str, Any], set[str]]] = [
    ({"target_modules": ["q_proj"]}, attention((0, "q_proj"), (1, "q_proj"))),
    ({"target_modules": ["layers.1.self_attn.v_proj"]}, attention((1, "v_proj"))),
    ({"target_modules": r".*\.0\..*(q|k)_proj"}, attention((0, "q_proj"), (0, "k_proj"))),
    (
        {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["k_proj"]},
        attention((0, "q_proj"), (1, "q_proj")),
    ),
    ({"target_modules": ["q_proj"], "exclude_modules": r".*layers\.0.*"}, attention((1, "q_proj"))),
    ({"target_modules": ["v_proj"], "layers_to_transform": [1]}, attention((1, "v_proj"))),
    (
        {"target_modules": ["v_proj"], "layers_to_transform": 0, "layers_pattern": "layers"},
        attention((0, "v_proj")),
    ),
    (
        {"target_modules": None},
        attention(*((layer, name) for layer in (0, 1) for name in ("q_proj", "v_proj"))),
    ),
]


@pytest.mark.parametrize(("fields", "expected"), TARGETS)
def test_targets(
    method: str, llama: Architecture, wrap: Wrap, fields: dict[str, Any], expected: set[str]
) -> None:
    assert adapted(wrap(method, llama, **fields)) == expected


def test_all_linear_takes_every_linear_layer_but_the_head(
    method: str, architecture: Architecture, wrap: Wrap
) -> None:
    names = adapted(wrap(method, architecture, target_modules="all-linear"))
    per_layer = {"llama": 7, "gpt2": 4, "bert": 6}[architecture.name]
    pooler = 1 if architecture.name == "bert" else 0
    assert len(names) == 2 * per_layer + pooler
    assert not any("lm_head" in name or "classifier" in name for name in names)


def test_a_second_adapter_may_have_other_targets(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    model = wrap(method, llama, target_modules=["q_proj"])
    model.add_adapter("second", make_config(method, llama, target_modules=r".*[kq]_proj.*"))
    assert adapted(model) == attention(*((layer, name) for layer in (0, 1) for name in ("q_proj", "k_proj")))


def test_a_target_that_matches_nothing_is_an_error(method: str, llama: Architecture, wrap: Wrap) -> None:
    with pytest.raises(
        ConfigError, match=r"`target_modules` must match .* \{'q_porj'\}. Did you mean 'q_proj'"
    ):
        wrap(method, llama, target_modules=["q_porj"])


def test_excluding_all_targets_is_an_error(method: str, llama: Architecture, wrap: Wrap) -> None:
    with pytest.raises(ConfigError, match="`target_modules` must match"):
        wrap(method, llama, target_modules=["q_proj"], exclude_modules=["q_proj"])


def test_a_target_of_another_kind_is_an_error_and_wraps_nothing(
    method: str, llama: Architecture, make_config: MakeConfig
) -> None:
    model = llama.model()
    config = make_config(method, llama, target_modules=["q_proj", "norm"])
    with pytest.raises(
        ConfigError, match=r"must name layers that .* can go around \(Linear, .* model\.norm is LlamaRMSNorm"
    ):
        get_peft_model(model, config)
    assert adapted(model) == set()


def test_an_unknown_architecture_needs_targets(
    method: str, llama: Architecture, make_config: MakeConfig
) -> None:
    config = make_config(method, llama, target_modules=None, task_type=None)
    with pytest.raises(ConfigError, match=r"Please specify `target_modules`.*'custom'"):
        get_peft_model(nn.Sequential(nn.Linear(2, 2)), config)


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": "q_proj", "layers_to_transform": [0]},
        {"target_modules": "q_proj", "layers_pattern": "layers"},
        {"target_modules": ["q_proj"], "layers_pattern": "layers"},
    ],
)
def test_fields_that_contradict_each_other(
    method: str, llama: Architecture, make_config: MakeConfig, fields: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="`layers_"):
        make_config(method, llama, **fields)


def test_nested_linear_layers_of_any_module_can_be_targets(
    method: str, llama: Architecture, make_config: MakeConfig
) -> None:
    net = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))
    model = get_peft_model(net, make_config(method, llama, target_modules=["0", "2"], task_type=None))
    assert adapted(model) == {"0", "2"}
    assert model(torch.randn(2, 4, 5)).shape == (2, 4, 1)
