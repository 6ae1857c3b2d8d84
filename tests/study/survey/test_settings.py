"""What settings of QAA and SoRA change in the survey, against counts and against models with weights."""

from typing import Any

import peft
import pytest
import torch
from tests.study.survey.configs import WIDTHS, with_weights
from tests.study.survey.test_claims import numbers_kept
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from amplitune.study.methods.registry import METHODS, adapter_config, find_method
from amplitune.study.survey.catalogue import ENTRIES, rows
from amplitune.study.survey.formula import evaluate
from amplitune.study.survey.shapes import Site, adapted_sites, model_names
from amplitune.study.survey.table import Row, survey_method

QKV = ["q_proj", "k_proj", "v_proj"]


def base(name: str) -> Any:
    if name != "neox":
        return with_weights(name)
    torch.manual_seed(0)
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, **WIDTHS
        )
    )


def row_of(model: Any, method: str, settings: dict[str, Any]) -> Row:
    return survey_method(model, find_method(method), "generation", model_names(model), settings)


# Six qubits: 6 angles a circuit and layer, 6 values of Z, 21 of Z+ZZ. Llama's q is 64 wide, k and v 32.
@pytest.mark.parametrize(
    ("model", "method", "settings", "angles", "parameters"),
    [
        ("llama", "qaa", {"share_circuit": True, "target_modules": QKV}, 2 * 6, 2 * (6 + 7 * 128)),
        (
            "llama",
            "qaa",
            {"share_circuit": True, "target_modules": QKV, "depth_pattern": {"k_proj": 2}, "circuits": 2},
            2 * 2 * (6 + 12),
            2 * (2 * (6 + 12) + 13 * 128),
        ),
        (
            "llama",
            "qaa",
            {
                "share_circuit": True,
                "target_modules": QKV,
                "readout_pattern": {r"layers\.0\.self_attn\.q_proj": "Z+ZZ"},
            },
            3 * 6,
            3 * 6 + (22 * 64 + 7 * 64) + 7 * 128,
        ),
        ("llama", "qaa-frozen", {"share_circuit": True, "target_modules": QKV}, 0, 2 * 7 * 128),
        ("llama", "qaa", {"train_angles": False}, 0, 2 * 7 * 96),
        # 7 qubits for the 96 inputs of down_proj; gate and up share as q, k and v do.
        (
            "llama",
            "qaa",
            {"share_circuit": True, "target_modules": [*QKV, "o_proj", "gate_proj", "up_proj", "down_proj"]},
            2 * (3 * 6 + 7),
            2 * (3 * 6 + 7 + 7 * (128 + 64 + 192) + 8 * 64),
        ),
        ("gpt2", "qaa", {"fused_parts": {"c_attn": ["q", "v"]}}, 2 * 12, 2 * (12 + 7 * 128)),
        (
            "gpt2",
            "qaa",
            {"fused_parts": {"c_attn": ["k"]}, "circuits": 3, "up_proj_bias": False, "share_circuit": True},
            2 * 18,
            2 * (18 + 18 * 64),
        ),
        (
            "neox",
            "qaa",
            {"fused_parts": {"query_key_value": ["q", "v"]}, "depth_pattern": {r"layers\.1\..*": 2}},
            12 + 24,
            12 + 24 + 2 * 7 * 128,
        ),
        (
            "neox",
            "qaa",
            {"circuits": 4, "fused_parts": {r"layers\.1\.attention\.query_key_value": ["k"]}},
            2 * 24,
            48 + 25 * (192 + 64),
        ),
        (
            "llama",
            "sora",
            {"r": 4, "target_modules": ["q_proj", "embed_tokens"], "rank_pattern": {"q_proj": 2}},
            0,
            2 * 2 * 129 + 4 * (300 + 64 + 1),
        ),
    ],
)
def test_settings_are_in_the_formula(
    model: str, method: str, settings: dict[str, Any], angles: int, parameters: int
) -> None:
    row = row_of(base(model), method, settings)
    assert row.reason == ""
    assert (row.angles, row.parameters, row.parameters_by_formula) == (angles, parameters, parameters)


def test_sora_around_other_modules() -> None:
    """Convolutions with and without groups, and an attention, which has two weights."""
    model = base("llama")
    model.tower = torch.nn.ModuleDict(
        {
            "whole": torch.nn.Conv2d(3, 8, 5),
            "grouped": torch.nn.Conv1d(8, 12, 3, groups=4),
            "attention": torch.nn.MultiheadAttention(16, 2),
        }
    )
    row = row_of(model, "sora", {"r": 8, "target_modules": ["whole", "grouped", "attention"]})
    counted = 8 * (75 + 8 + 1) + 8 * (6 + 12 // 4 + 1) + 8 * (16 + 48 + 1) + 8 * (16 + 16 + 1)
    assert row.parameters == row.parameters_by_formula == counted
    assert row.formula == "Σ_modules [r·(d_in + d_out/groups + 1)]"
    assert "groups" not in row_of(model, "sora", {"target_modules": ["whole", "attention"]}).formula
    refused = row_of(model, "qaa", {"target_modules": ["grouped"]})
    assert refused.parameters is None
    assert "groups=1 for QAA" in refused.reason


def test_convolutions_share_no_circuit() -> None:
    model = base("llama")
    model.tower = torch.nn.ModuleDict({name: torch.nn.Conv1d(8, 8, 2) for name in QKV})
    row = row_of(model, "qaa", {"target_modules": QKV, "share_circuit": True})
    assert row.angles == 2 * 6 + 3 * 4
    assert row.parameters == row.parameters_by_formula


def test_defaults_change_nothing() -> None:
    """The entries of the quantum family say what their settings make of them."""
    site = Site("layers.0.q_proj", 64, 32, 0)
    visited = 0
    for method in rows():
        if method.peft_type == "QAA":
            entry = ENTRIES[method.name]
            found = entry.under(adapter_config(method, "generation", method.config), [site])
            for field in ("each", "time", "memory", "stores", "mergeable", "nonlinear", "remark"):
                assert getattr(found, field) == getattr(entry, field), (method.name, field)
            visited += 1
    assert visited == 10


@pytest.mark.parametrize(
    ("settings", "merges"),
    [
        ({"readout": "interferometric", "norm": "restore"}, True),
        ({"readout": "interferometric"}, False),
        ({"norm": "restore", "readout_pattern": {"q_proj": "interferometric"}}, False),
        ({"norm": "restore", "readout_pattern": {".*proj": "interferometric"}}, True),
    ],
)
def test_the_readout_decides_on_merging(settings: dict[str, Any], merges: bool) -> None:
    model = base("llama")
    row = row_of(model, "qaa", settings)
    assert (row.mergeable, row.nonlinear) == (merges, not merges)
    adapted: Any = peft.get_peft_model(
        model, adapter_config(METHODS["qaa"], "generation", settings | {"up_proj_bias": False})
    )
    if merges:
        adapted.merge_and_unload()
    else:
        with pytest.raises(NotImplementedError, match="cannot be merged"):
            adapted.merge_and_unload()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {"target_modules": QKV, "share_circuit": True, "circuits": 2}),
        ("gpt2", {"fused_parts": {"c_attn": ["q", "v"]}, "circuits": 2}),
        ("gpt2", {"fused_parts": {"c_attn": ["q", "v"]}, "share_circuit": True}),
    ],
)
def test_the_memory_of_a_token_is_what_is_said(name: str, settings: dict[str, Any]) -> None:
    """Of the modules that share a circuit, together: what they keep is kept once."""
    method, model = METHODS["qaa"], base(name)
    adapted: Any = peft.get_peft_model(
        model, adapter_config(method, "generation", settings | {"init_weights": False})
    )
    config = adapted.peft_config["default"]
    sites = [site for site in adapted_sites(base(name), config) if ".0." in site.name]
    entry = ENTRIES["qaa"].under(config, sites)
    names = model_names(base(name))
    said = sum(evaluate(entry.memory, entry.names_at(config, sites, names, site)) for site in sites)
    layers = [adapted.get_submodule(f"base_model.model.{site.name}") for site in sites]

    class Together(torch.nn.Module):
        """Calls all modules on one input."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(layers)

        def get_base_layer(self) -> Any:
            return torch.nn.Linear(64, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([layer(x) for layer in self.layers], dim=-1)

    together = Together().train()
    measured = (numbers_kept(together, 300, method) - numbers_kept(together, 100, method)) / 200
    assert measured == pytest.approx(said, rel=0.01)
