"""Names of modules and indices of layers that a model does not have, or that mean something else."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.conftest import METHODS, Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from tests.adapters.test_targeting import adapted, attention
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM

from amplitune import SoRAConfig
from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"layers_to_transform": [0, 5]}, r"has 5, which no layer has\. Give indices from 0 to 1\."),
    ({"layers_to_transform": 2}, r"has 2, which no layer has\. Give indices from 0 to 1\."),
    (
        {"layers_to_transform": [0], "layers_pattern": "h"},
        r"has 0, which no layer has in 'h' \(`layers_pattern`\)\. Leave it unset",
    ),
    (
        {"exclude_modules": ["layers.0"]},
        r"'layers\.0' is model\.layers\.0, and .* such as model\.layers\.0\.self_attn\.q_proj\. Give",
    ),
    (
        {"modules_to_save": ["layers"]},
        r"'layers' is the end of model\.layers, a ModuleList, which is never called",
    ),
    (
        {"target_modules": "q_proj"},
        r"is 'q_proj'\. A str is a regular .*: give \['q_proj'\], or '\.\*\\\\\.q_proj'\.",
    ),
    ({"target_modules": "q_porj"}, r"Did you mean 'q_proj'.* A str is a regular expression"),
    ({"target_modules": ["All-linear"]}, "Give it as a str, target_modules: 'All-linear'"),
    (
        {"target_modules": ["lm_head"], "modules_to_save": ["lm_head"]},
        r"lm_head is in `modules_to_save` \['lm_head'\]",
    ),
    (
        {"target_modules": ["q_proj"], "modules_to_save": ["self_attn"]},
        r"q_proj is in `modules_to_save` \['self_attn'\], or inside a module that is",
    ),
    (
        {"target_modules": ["q_proj"], "exclude_modules": ["q_proj"]},
        r"`exclude_modules` \{'q_proj'\} leaves none of them",
    ),
    (
        {"target_modules": ["layers.0.self_attn.q_proj"], "layers_to_transform": [1]},
        "`layers_to_transform` and `layers_pattern` leave none of them",
    ),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_the_error_names_what_to_write_and_nothing_is_wrapped(
    method: str, llama: Architecture, make_config: MakeConfig, fields: dict[str, Any], message: str
) -> None:
    model = llama.model()
    with pytest.raises(ConfigError, match=message):
        get_peft_model(model, make_config(method, llama, **fields))
    assert not any(isinstance(module, AdapterLayer) for module in model.modules())


def test_the_pattern_that_the_error_gives_excludes_what_is_inside(
    llama: Architecture, make_config: MakeConfig, wrap: Wrap
) -> None:
    with pytest.raises(ConfigError) as raised:
        get_peft_model(llama.model(), make_config("sora", llama, exclude_modules=["layers.0"]))
    found = re.search(r"exclude_modules: '(.*)'\.$", str(raised.value))
    assert found
    pattern = found[1].replace("\\\\", "\\")
    model = wrap("sora", llama, exclude_modules=pattern)
    assert adapted(model) == attention((1, "q_proj"), (1, "v_proj"))


@pytest.mark.parametrize("by", ["qaa", "control"])
def test_a_module_to_save_is_not_named_as_a_part_of_the_adapter(
    by: str, llama: Architecture, make_config: MakeConfig
) -> None:
    model = llama.model()
    with pytest.raises(ConfigError, match=rf"'up_proj' is the end of {by}_up_proj too.*'mlp\.up_proj'"):
        get_peft_model(model, make_config(by, llama, modules_to_save=["up_proj"]))
    wrapped: Any = get_peft_model(model, make_config(by, llama, modules_to_save=["mlp.up_proj"]))
    assert wrapped.base_model.model.model.layers[0].mlp.up_proj.modules_to_save


def test_a_second_adapter_is_refused_as_the_first(llama: Architecture, wrap: Wrap) -> None:
    model = wrap("sora", llama)
    config = SoRAConfig(target_modules=["v_proj"], layers_to_transform=[2])
    with pytest.raises(ConfigError, match="has 2, which no layer has"):
        model.add_adapter("second", config)
    assert list(model.peft_config) == ["default"]


@pytest.mark.parametrize("head", ["llama", "bert"])
def test_all_linear_leaves_what_another_adapter_trains_in_full(
    method: str,
    head: str,
    wrap: Wrap,
    make_config: MakeConfig,
    request: pytest.FixtureRequest,
    tokens: Tensor,
    tmp_path: Path,
) -> None:
    architecture: Architecture = request.getfixturevalue(head)
    saved = {"llama": "lm_head", "bert": "classifier"}[head]
    model: Any = wrap(method, architecture, modules_to_save=[saved])
    model.add_adapter(
        "second", make_config(method, architecture, target_modules="all-linear", modules_to_save=None)
    )
    model.eval().set_adapter("second")
    assert not any(saved in name for name in model.peft_config["second"].target_modules)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path / "second")).eval()
    torch.testing.assert_close(logits(loaded, tokens), logits(model, tokens))


IN_THE_WAY: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["lm_head"]},
        "must name modules that no adapter trains in full, but has lm_head, and lm_head is in another",
    ),
    (
        {"modules_to_save": ["layers.0"], "target_modules": ["layers.1.self_attn.q_proj"]},
        {"target_modules": ["k_proj"]},
        r"no adapter trains in full, but has model\.layers\.0\.\S*k_proj, and model\.layers\.0 is in",
    ),
    (
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]},
        "`modules_to_save` .*'lm_head' is the end of lm_head, which has an adapter",
    ),
    (
        {"target_modules": ["q_proj"]},
        {"target_modules": ["lm_head"], "modules_to_save": ["layers.1.self_attn"]},
        "which has an adapter, or has modules with one",
    ),
    (
        {"modules_to_save": ["layers.0"], "target_modules": ["layers.1.self_attn.q_proj"]},
        {"target_modules": ["lm_head"], "modules_to_save": ["self_attn.k_proj"]},
        r"inside model\.layers\.0, which another adapter trains in full",
    ),
    (
        {"target_modules": ["q_proj"]},
        {"target_modules": ["v_proj"], "modules_to_save": ["base_layer"]},
        r"q_proj\.base_layer, a part of an adapter",
    ),
    (
        {"target_modules": ["q_proj"]},
        {"target_modules": ["v_proj"], "modules_to_save": ["ond"]},
        "'ond' is the end of the adapter's own name 'second' too",
    ),
]


@pytest.mark.parametrize(("first", "second", "message"), IN_THE_WAY)
def test_what_one_adapter_has_is_not_changed_under_it_by_the_next(
    method: str,
    llama: Architecture,
    wrap: Wrap,
    make_config: MakeConfig,
    tokens: Tensor,
    first: dict[str, Any],
    second: dict[str, Any],
    message: str,
) -> None:
    model: Any = wrap(method, llama, **first)
    before, expected = [name for name, _ in model.named_modules()], logits(model, tokens)
    with pytest.raises(ConfigError, match=message):
        model.add_adapter("second", make_config(method, llama, **second))
    assert [name for name, _ in model.named_modules()] == before
    assert list(model.peft_config) == ["default"]
    assert torch.equal(logits(model, tokens), expected)


def test_several_adapters_may_train_the_same_module_in_full(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    model: Any = wrap(method, llama, modules_to_save=["lm_head"])
    model.add_adapter("second", make_config(method, llama, modules_to_save=["lm_head"]))
    assert set(model.base_model.model.lm_head.modules_to_save) == {"default", "second"}


ABSENT: list[tuple[dict[str, Any], str]] = [
    (
        {"target_modules": ["q_proj", "v_porj"]},
        "`target_modules` has 'v_porj', which is .*no effect.*'v_proj'",
    ),
    ({"modules_to_save": ["lm_hed"]}, "`modules_to_save` has 'lm_hed', which is .*no effect.*'lm_head'"),
]


@pytest.mark.parametrize(("fields", "message"), ABSENT)
def test_a_name_of_no_module_among_others_is_a_warning(
    llama: Architecture, make_config: MakeConfig, fields: dict[str, Any], message: str
) -> None:
    with pytest.warns(UserWarning, match=message):
        get_peft_model(llama.model(), make_config("sora", llama, **fields))


def test_heads_that_peft_names_by_the_task_are_no_warning(bert: Architecture, wrap: Wrap) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*no effect")
        model = wrap("sora", bert, target_modules="all-linear", modules_to_save=None)
    config: Any = model.peft_config["default"]
    assert config.modules_to_save == ["classifier", "score"]


@pytest.fixture(scope="module")
def experts() -> Any:
    config = MixtralConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
    )
    return MixtralForCausalLM(config)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["experts"], r"is MixtralExperts\. It has the weights of several experts .*`target_parameters`"),
        (["gate_up_proj"], "'gate_up_proj' is a parameter, not a module: `target_parameters`"),
        (
            ["self_attn"],
            "is MixtralAttention. Take it out of `target_modules`, name the layers inside it, or",
        ),
    ],
)
def test_experts_are_parameters(method: str, experts: Any, targets: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_peft_model(experts, METHODS[method](target_modules=targets))


@pytest.mark.parametrize("layer", [nn.Conv1d(3, 4, 2), nn.ConvTranspose1d(3, 4, 2), nn.Bilinear(2, 3, 4)])
def test_layers_with_weights_of_three_dimensions_are_not_taken_for_experts(layer: nn.Module) -> None:
    message = rf"but 0 is {type(layer).__name__}\. Take it out"
    with pytest.raises(ConfigError, match=message):
        get_peft_model(nn.Sequential(layer), METHODS["control"](target_modules=["0"]))


@pytest.mark.parametrize("layer", [nn.LazyLinear(3), nn.LazyConv1d(3, 2)])
def test_a_layer_without_widths_is_refused_until_it_has_run(
    llama: Architecture, make_config: MakeConfig, layer: Any
) -> None:
    net = nn.Sequential(layer)
    config = make_config("sora", llama, target_modules=["0"], task_type=None)
    with pytest.raises(ConfigError, match="Its widths are not known yet: run the model once"):
        get_peft_model(net, config)
    x = torch.randn(2, 4, 5)
    assert net(x).shape == get_peft_model(net, config)(x).shape
