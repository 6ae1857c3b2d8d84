"""Which modules get an adapter, and what a wrong target says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
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


WRONG_KINDS: list[tuple[dict[str, Any], str]] = [
    ({"target_modules": 3}, r"`target_modules` must be a list of names or a regular expression, but is 3"),
    ({"target_modules": ["q_proj", 3]}, r"`target_modules` must be a list of names .*'q_proj', 3\]"),
    ({"target_modules": "(q_proj"}, r"`target_modules` .* '\(q_proj' is no regular expression: missing \)"),
    ({"exclude_modules": "*"}, r"`exclude_modules` .* '\*' is no regular expression: nothing to repeat"),
    ({"exclude_modules": [None]}, r"`exclude_modules` must be a list of names"),
    ({"modules_to_save": "lm_head"}, r"`modules_to_save` must be a list .*Give \['lm_head'\]"),
    ({"modules_to_save": [3]}, "`modules_to_save` must be a list of names"),
    ({"layers_to_transform": "0"}, "`layers_to_transform` must be an index or a list of indices.*is '0'"),
    ({"layers_to_transform": ["0"]}, "`layers_to_transform` must be an index or"),
    ({"layers_to_transform": [True]}, "`layers_to_transform` must be an index or"),
    ({"layers_to_transform": -1}, "`layers_to_transform` must be an index or"),
    ({"layers_to_transform": [0], "layers_pattern": 3}, "`layers_pattern` must be the name of a module list"),
    ({"init_weights": "gaussian"}, "`init_weights` must be true or false, but is 'gaussian'"),
    ({"inference_mode": None}, "`inference_mode` must be true or false, but is None"),
    ({"target_parameters": ["experts.up"]}, "`target_parameters` is a field of peft's LoraConfig, but not"),
    (
        {"trainable_token_indices": [1]},
        "`trainable_token_indices` is a .* Train all rows .*`modules_to_save`",
    ),
    ({"ensure_weight_tying": True}, "`ensure_weight_tying` is a field of peft's LoraConfig, but not"),
    ({"use_dora": True}, "`use_dora` is a field of peft's LoraConfig, but not"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG_KINDS)
def test_a_value_of_another_kind_is_an_error(
    method: str, llama: Architecture, make_config: MakeConfig, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_config(method, llama, **fields)


NUMBERS = [("qaa", "scaling"), ("control", "scaling"), ("sora", "lora_dropout"), ("sora", "sparse_lambda")]


@pytest.mark.parametrize("value", [None, "0.1", True, float("nan"), float("inf")])
@pytest.mark.parametrize(("method", "name"), NUMBERS)
def test_what_is_no_finite_number_is_an_error(
    method: str, llama: Architecture, make_config: MakeConfig, name: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=f"`{name}` must be a number, but is"):
        make_config(method, llama, **{name: value})


def test_a_field_of_lora_that_says_nothing_is_pefts_to_drop(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    wrap(method, llama).save_pretrained(str(tmp_path))
    path = tmp_path / "adapter_config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"target_parameters": None, "ensure_weight_tying": False}))
    with pytest.warns(UserWarning, match=r"Unexpected keyword arguments .*target_parameters"):
        PeftModel.from_pretrained(llama.model(), str(tmp_path))


@pytest.mark.parametrize("layers", [(1,), range(1, 2), {1}])
def test_indices_in_any_collection_are_saved(
    llama: Architecture, wrap: Wrap, tmp_path: Path, layers: Any
) -> None:
    model = wrap("sora", llama, target_modules=("v_proj",), layers_to_transform=layers)
    assert adapted(model) == attention((1, "v_proj"))
    model.save_pretrained(str(tmp_path))
    assert adapted(PeftModel.from_pretrained(llama.model(), str(tmp_path))) == attention((1, "v_proj"))


def test_nested_linear_layers_of_any_module_can_be_targets(
    method: str, llama: Architecture, make_config: MakeConfig
) -> None:
    net = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1))
    model = get_peft_model(net, make_config(method, llama, target_modules=["0", "2"], task_type=None))
    assert adapted(model) == {"0", "2"}
    assert model(torch.randn(2, 4, 5)).shape == (2, 4, 1)
