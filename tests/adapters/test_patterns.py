"""Patterns of depths, readouts, ranks and scales by module: keys without effect, keys that overlap."""

import re
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from torch import Tensor

from amplitune import QAAConfig
from amplitune.adapters.patterns import pattern_value
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


LAST = r".*layers\.1\..*"
WIDTHS = {"parts": ["a", "b"], "widths": [12, 12]}
OTHER_WIDTHS = {"parts": ["a", "b"], "widths": [8, 16]}
#: The keys in an order that a file, where they are sorted, does not keep.
OVERLAPPING: list[tuple[str, dict[str, dict[str, Any]], str]] = [
    ("sora", {"rank_pattern": {"q_proj": 2, LAST: 3}}, "has 2 for 'q_proj' and 3 for "),
    ("sora", {"alpha_pattern": {"q_proj": 2, LAST: 64}}, "has 2 for 'q_proj' and 64 for "),
    ("qaa", {"depth_pattern": {"q_proj": 2, LAST: 3}}, "has 2 for 'q_proj' and 3 for "),
    ("qaa", {"readout_pattern": {"q_proj": "Z", LAST: ["X0"]}}, r"has 'Z' for 'q_proj' and \['X0'\] for "),
    (
        "qaa",
        {
            "fused_parts": {"q_proj": ["a"], LAST: ["b"]},
            "fused_layouts": {"q_proj": WIDTHS, LAST: WIDTHS},
        },
        r"has \['a'\] for 'q_proj' and \['b'\] for ",
    ),
    (
        "qaa",
        {
            "fused_parts": {"q_proj": ["a"], LAST: ["a"]},
            "fused_layouts": {"q_proj": WIDTHS, LAST: OTHER_WIDTHS},
        },
        r"12\]\} for 'q_proj' and .*16\]\} for ",
    ),
]


@pytest.mark.parametrize(("method", "patterns", "message"), OVERLAPPING)
def test_keys_whose_order_a_file_does_not_keep_are_refused_and_can_be_written_apart(
    method: str,
    patterns: dict[str, Any],
    message: str,
    llama: Architecture,
    make_config: MakeConfig,
    wrap: Wrap,
    tokens: Tensor,
    tmp_path: Any,
) -> None:
    model, targets = llama.model(), ["q_proj", "o_proj"]
    before = list(model.state_dict())
    with pytest.raises(
        ConfigError, match=r"must give \S*layers\.1\S*q_proj one value .*" + message
    ) as raised:
        get_peft_model(model, make_config(method, llama, target_modules=targets, **patterns))
    assert list(model.state_dict()) == before
    written = re.search(r"write '(.*)' instead of '(.*)', or", str(raised.value).replace(r"\\", "\\"))
    assert written is not None
    apart, key = written.groups()
    assert key == LAST
    renamed = {
        field: {apart if key == LAST else key: value for key, value in pattern.items()}
        for field, pattern in patterns.items()
    }
    adapted = wrap(method, llama, target_modules=targets, **renamed)
    expected = adapted(tokens).logits
    for field, pattern in renamed.items():
        assert pattern_value(pattern, "model.layers.1.self_attn.q_proj", None) == patterns[field]["q_proj"]
    adapted.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path)).eval()
    assert torch.equal(loaded(tokens).logits, expected)


@pytest.mark.parametrize(
    "pattern", [{LAST: 3, "q_proj": 2}, {"q_proj": 3, LAST: 3}], ids=["in a file's order", "of one value"]
)
def test_keys_that_overlap_alike_in_a_file_are_taken(
    pattern: dict[str, int], llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Any
) -> None:
    model = wrap("qaa", llama, depth_pattern=pattern)
    model.save_pretrained(tmp_path)
    assert list(PeftConfig.from_pretrained(str(tmp_path)).depth_pattern) == sorted(pattern)
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path)).eval()
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
