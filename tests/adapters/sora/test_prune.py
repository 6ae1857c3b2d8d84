"""Pruning a SoRA adapter to a plain LoRA that knows nothing of amplitune."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import ModulesToSaveWrapper
from tests.adapters.conftest import ARCHITECTURES, Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor, nn

from amplitune import SoRAConfig, gate_sparsity, prune_to_lora
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

Ranks = list[int]


def keep_ranks(model: nn.Module, ranks: Ranks, adapter_name: str = "default") -> None:
    """Zero all but some gates of each layer, never just the last ones."""
    layers = [module for module in model.modules() if isinstance(module, SoRALayer)]
    for layer, rank in zip(layers, ranks, strict=True):
        gate = layer.sora_gate[adapter_name]
        chosen = torch.randperm(len(gate), generator=torch.Generator().manual_seed(rank))[: len(gate) - rank]
        with torch.no_grad():
            gate[chosen] = 0.0


def sparse(wrap: Wrap, architecture: Architecture, ranks: Ranks, **fields: Any) -> Any:
    model = wrap("sora", architecture, r=4, lora_alpha=11, **fields)
    keep_ranks(model, ranks)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, ModulesToSaveWrapper):
                for parameter in module.modules_to_save.parameters():
                    parameter.add_(torch.randn_like(parameter))
    return model


MIXED = {"llama": [4, 0, 2, 2], "gpt2": [1, 0, 2, 2, 3, 0], "bert": [0, 2, 1, 4]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_logits_stay(architecture: Architecture, wrap: Wrap, tokens: Tensor, dtype: torch.dtype) -> None:
    model = sparse(wrap, architecture, MIXED[architecture.name]).to(dtype)
    expected = logits(model, tokens)
    base = logits(architecture.model().to(dtype), tokens)
    lora = prune_to_lora(model)
    assert isinstance(lora.peft_config["default"], LoraConfig)
    assert not [module for module in lora.modules() if isinstance(module, SoRALayer)]
    assert not lora.training
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 3e-2}[dtype]
    torch.testing.assert_close(logits(lora, tokens), expected, atol=tolerance, rtol=0)
    if dtype != torch.bfloat16:
        assert (expected - base).abs().max() > 100 * tolerance
        with lora.disable_adapter():
            assert torch.equal(logits(lora, tokens), base)


def test_ranks_and_targets(architecture: Architecture, wrap: Wrap) -> None:
    ranks = MIXED[architecture.name]
    model = sparse(wrap, architecture, ranks)
    expected = {
        name.removeprefix("base_model.model."): rank
        for name, rank in gate_sparsity(model).ranks.items()
        if rank
    }
    assert len(expected) == sum(rank > 0 for rank in ranks)
    lora: Any = prune_to_lora(model)
    found = {
        name.removeprefix("base_model.model."): module.r["default"]
        for name, module in lora.named_modules()
        if hasattr(module, "lora_A")
    }
    assert found == expected
    assert {m.scaling["default"] for m in lora.modules() if hasattr(m, "lora_A")} == {1.0}
    trainable = {name for name, p in lora.named_parameters() if p.requires_grad}
    assert len(trainable) == 2 * len(expected) + 2 * len(architecture.modules_to_save)


def test_targets_are_short_when_all_modules_of_a_name_stay(llama: Architecture, wrap: Wrap) -> None:
    lora = prune_to_lora(sparse(wrap, llama, [2, 0, 2, 0]))
    config: Any = lora.peft_config["default"]
    assert config.target_modules == {"q_proj"}
    assert (config.r, config.lora_alpha, config.rank_pattern, config.alpha_pattern) == (2, 2, {}, {})


def test_a_module_whose_name_is_another_ones_ending_keeps_its_own_rank() -> None:
    net = nn.ModuleDict({"block": nn.ModuleDict({"fc": nn.Linear(4, 4)}), "fc": nn.Linear(4, 4)})
    model = get_peft_model(net, SoRAConfig(r=4, target_modules=["fc"], init_weights=False))
    keep_ranks(model, [1, 3])
    x = torch.randn(5, 4)
    wrapped: Any = net
    expected = wrapped["fc"](x), wrapped["block"]["fc"](x)
    config: Any = prune_to_lora(model).peft_config["default"]
    assert {config.r, *config.rank_pattern.values()} == {1, 3}
    torch.testing.assert_close((wrapped["fc"](x), wrapped["block"]["fc"](x)), expected)


def test_dropout_task_and_base_are_kept(bert: Architecture, wrap: Wrap) -> None:
    model = sparse(wrap, bert, [1, 1, 1, 1], lora_dropout=0.25)
    model.get_base_model().name_or_path = model.peft_config["default"].base_model_name_or_path = "some/base"
    config: Any = prune_to_lora(model).peft_config["default"]
    found = config.lora_dropout, config.task_type, config.base_model_name_or_path
    assert found == (0.25, "SEQ_CLS", "some/base")


LOAD = """
import json, sys, torch, peft
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
tokens = torch.tensor(json.loads(sys.argv[1]))
for base, adapter, task in json.loads(sys.argv[2]):
    auto = AutoModelForCausalLM if task == "CAUSAL_LM" else AutoModelForSequenceClassification
    model = peft.PeftModel.from_pretrained(auto.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        logits = model(tokens).logits
        merged = model.merge_and_unload()(tokens).logits
    torch.testing.assert_close(merged, logits, atol=1e-5, rtol=1e-5)
    print(json.dumps(logits.tolist()))
assert not any(name.split(".")[0] == "amplitune" for name in sys.modules)
"""


def test_it_loads_in_plain_peft_without_amplitune(
    wrap: Wrap, saved_base: Callable[[Architecture], str], tokens: Tensor, tmp_path: Path
) -> None:
    cases, expected = [], []
    for architecture in ARCHITECTURES:
        model = sparse(wrap, architecture, MIXED[architecture.name])
        expected.append(logits(model, tokens))
        folder = str(tmp_path / architecture.name)
        prune_to_lora(model).save_pretrained(folder)
        cases.append((saved_base(architecture), folder, architecture.task_type))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(tokens.tolist()), json.dumps(cases)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = [torch.tensor(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(expected) == 3
    for loaded, original in zip(found, expected, strict=True):
        torch.testing.assert_close(loaded, original, atol=2e-6, rtol=0)
    assert not [line for line in done.stderr.splitlines() if "fan_in_fan_out" in line or "missing" in line]


def test_round_trip(architecture: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path) -> None:
    lora = prune_to_lora(sparse(wrap, architecture, MIXED[architecture.name]))
    lora.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path))
    assert torch.equal(logits(loaded, tokens), logits(lora, tokens))


def test_the_adapter_is_chosen_by_its_name(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model: Any = sparse(wrap, llama, [1, 1, 1, 1])
    model.add_adapter("second", make_config("sora", llama, r=3))
    model.eval().set_adapter("second")
    expected = logits(model, tokens)
    lora = prune_to_lora(model, "second")
    assert list(lora.peft_config) == ["second"]
    torch.testing.assert_close(logits(lora, tokens), expected, atol=2e-6, rtol=0)


def test_all_gates_zero_is_an_error_that_says_so(
    architecture: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = sparse(wrap, architecture, [0] * len(MIXED[architecture.name]))
    before = logits(model, tokens)
    gates = 4 * len(MIXED[architecture.name])
    with pytest.raises(ConfigError, match=f"all {gates} are: nothing is left to prune to"):
        prune_to_lora(model)
    assert torch.equal(logits(model, tokens), before)


def test_what_cannot_be_pruned(llama: Architecture, wrap: Wrap) -> None:
    bare: Any = llama.model()
    with pytest.raises(ConfigError, match="`model` must be a PeftModel with a SoRA adapter"):
        prune_to_lora(bare)
    with pytest.raises(ConfigError, match=r"must be a SoRA adapter.*no SoRA adapter at all"):
        prune_to_lora(wrap("qaa", llama))
    model: Any = wrap("sora", llama)
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        prune_to_lora(model, "defualt")
    model.merge_adapter()
    with pytest.raises(ConfigError, match=r"No adapter must be merged .* but \['default'\] are"):
        prune_to_lora(model)
    model.unmerge_adapter()
    model.add_adapter("other", SoRAConfig(target_modules=["o_proj"]))
    model.merge_adapter(["other"])
    with pytest.raises(ConfigError, match=r"as the base model would keep it, but \['other'\] are"):
        prune_to_lora(model)
    model.unmerge_adapter()
    assert isinstance(prune_to_lora(model), PeftModel)


def test_an_unused_config_stays_plain_data() -> None:
    assert json.loads(json.dumps(SoRAConfig(target_modules="q_proj").to_dict()))["peft_type"] == "SORA"
