"""Patterns of depths, readouts, ranks and scales by module, and the refusal of a key with no effect."""

from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from torch import Tensor

from amplitune import QAAConfig
from amplitune.adapters.qaa.layer import QAALayer
from amplitune.adapters.qaa.stored_circuit import circuits_of, stored_circuits
from amplitune.errors import ConfigError

PATTERNS: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("qaa", {"depth_pattern": {"v_proj": 2}, "readout_pattern": {r"layers\.1\..*": ["X0", "Z0 Z1"]}}),
    ("sora", {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {r"layers\.1\..*": 3.0}}),
]


@pytest.mark.parametrize(("method", "patterns"), PATTERNS)
def test_an_adapter_with_patterns_is_loaded_as_it_was_saved(
    method: str, patterns: dict[str, Any], llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Any
) -> None:
    model = wrap(method, llama, **patterns)
    expected = model(tokens).logits
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path)).eval()
    assert {name: getattr(loaded.peft_config["default"], name) for name in patterns} == patterns
    assert torch.equal(loaded(tokens).logits, expected)


@pytest.mark.parametrize("target_modules", [["q_proj", "v_proj"], "all-linear"])
def test_each_module_has_its_own_circuit(llama: Architecture, wrap: Wrap, target_modules: Any) -> None:
    model = wrap("qaa", llama, **PATTERNS[0][1], target_modules=target_modules)
    found = {
        name.removeprefix("base_model.model.model."): (
            tuple(module.qaa_angles["default"].shape),
            module.qaa_up_proj["default"].shape[1],
        )
        for name, module in model.named_modules()
        if isinstance(module, QAALayer)
    }
    assert len(found) == 4 if isinstance(target_modules, list) else len(found) == 14
    assert found["layers.0.self_attn.q_proj"] == ((1, 1, 1, 5), 5)
    assert found["layers.0.self_attn.v_proj"] == ((1, 2, 1, 5), 5)
    assert found["layers.1.self_attn.v_proj"] == ((1, 2, 1, 5), 2)


def test_stored_circuits_follow_the_patterns(llama: Architecture, wrap: Wrap, tmp_path: Any) -> None:
    model = wrap("qaa", llama, **PATTERNS[0][1])
    model.save_pretrained(str(tmp_path))
    stored, live = stored_circuits(tmp_path), circuits_of(model)
    assert {name: entry.circuit for name, entry in stored.items()} == {
        name: entry.circuit for name, entry in live.items()
    }
    assert len({entry.circuit for entry in stored.values()}) == 4


WRONG: list[tuple[str, dict[str, Any], str]] = [
    (
        "qaa",
        {"depth_pattern": {"q_prj": 2}},
        r"`depth_pattern` .* 'q_prj' matches none of the 4\. Did you .*'q_proj'",
    ),
    (
        "qaa",
        {"readout_pattern": {"lm_head": "XYZ"}},
        "`readout_pattern` must name modules that get an adapter",
    ),
    ("sora", {"rank_pattern": {"layers.0.q_proj": 2}}, "`rank_pattern` .* 'layers.0.q_proj' matches none"),
    (
        "sora",
        {"alpha_pattern": {"q_proj": 1, "layers.0.self_attn.q_proj": 2}},
        "`alpha_pattern` .*'q_proj' comes before",
    ),
]


@pytest.mark.parametrize("target_modules", [["q_proj", "v_proj"], "all-linear"])
@pytest.mark.parametrize(("method", "patterns", "message"), WRONG)
def test_a_key_without_effect_is_refused_before_the_model_is_touched(
    method: str,
    patterns: dict[str, Any],
    message: str,
    target_modules: Any,
    llama: Architecture,
    make_config: MakeConfig,
) -> None:
    model = llama.model()
    before = [name for name, _ in model.named_modules()]
    with pytest.raises(ConfigError, match=message.replace("the 4", r"the \d+")):
        get_peft_model(model, make_config(method, llama, **patterns, target_modules=target_modules))
    assert [name for name, _ in model.named_modules()] == before


def test_a_second_adapter_is_refused_for_a_key_without_effect(
    llama: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap("qaa", llama)
    expected = model(tokens).logits
    with pytest.raises(ConfigError, match="'o_proj' matches none"):
        model.add_adapter("second", QAAConfig(target_modules=["q_proj"], depth_pattern={"o_proj": 2}))
    assert list(model.peft_config) == ["default"]
    assert torch.equal(model(tokens).logits, expected)
