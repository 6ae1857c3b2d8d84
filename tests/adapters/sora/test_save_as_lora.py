"""The files of a pruned adapter: saved while training goes on, and read as vLLM reads a LoRA."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.sora.test_prune import MIXED, keep_ranks, sparse
from tests.adapters.test_lifecycle import logits, train_one_step
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from amplitune import prune_to_lora
from amplitune.adapters import save_as_lora
from amplitune.errors import ConfigError

PATTERNS = {"rank_pattern": {"v_proj": 6}, "alpha_pattern": {r"layers\.0\..*": 3}}


def test_the_files_are_those_of_prune_to_lora_and_the_model_stays(
    architecture: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model = sparse(wrap, architecture, MIXED[architecture.name])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = logits(model, tokens)
    save_as_lora(model, tmp_path / "during" / "training")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path / "during" / "training"))
    torch.testing.assert_close(logits(loaded, tokens), expected, atol=2e-6, rtol=0)
    train_one_step(model.train(), architecture, tokens)

    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(before[name])
    prune_to_lora(model.eval()).save_pretrained(str(tmp_path / "after"))
    folders = [tmp_path / "during" / "training", tmp_path / "after"]
    configs = [json.loads((folder / "adapter_config.json").read_text()) for folder in folders]
    for config in configs:
        config["target_modules"].sort()
        # peft adds the names of classifiers each time that it wraps a model.
        config["modules_to_save"] = set(config["modules_to_save"] or [])
    assert configs[0] == configs[1]
    tensors = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(value, tensors[1][key]) for key, value in tensors[0].items())


@pytest.mark.parametrize("bias", ["sora_only", "all"])
@pytest.mark.parametrize("ranks", [[0, 2, 1, 4], [1, 2, 1, 4]], ids=["a module is dropped", "none is"])
def test_trained_biases_come_along(
    bert: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, bias: str, ranks: list[int]
) -> None:
    model = sparse(wrap, bert, ranks, bias=bias)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name.endswith(".bias"):
                parameter.add_(torch.randn_like(parameter))
    expected = logits(model, tokens)
    save_as_lora(model, tmp_path / "a")
    lora = prune_to_lora(model)
    torch.testing.assert_close(logits(lora, tokens), expected, atol=2e-6, rtol=0)
    lora.save_pretrained(str(tmp_path / "b"))
    for name in "ab":
        loaded = PeftModel.from_pretrained(bert.model(), str(tmp_path / name))
        torch.testing.assert_close(logits(loaded, tokens), expected, atol=2e-6, rtol=0)


def test_what_cannot_be_pruned_writes_nothing(llama: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    model = wrap("sora", llama)
    keep_ranks(model, [0, 0, 0, 0])
    with pytest.raises(ConfigError, match="nothing is left to prune to"):
        save_as_lora(model, tmp_path / "empty")
    assert not list(tmp_path.iterdir())


def add_as_vllm_does(base: Any, folder: Path, max_lora_rank: int) -> None:
    """Add a LoRA's product to a model's weights by the rules of vLLM's reader.

    It takes r, lora_alpha, bias, modules_to_save and use_dora from the config and nothing else: one scale for
    all modules, no patterns. Modules and ranks are those of the tensors, whose names end in lora_A.weight and
    lora_B.weight behind base_model.model.; the buffers that they go into have max_lora_rank ranks
    (vllm/lora/peft_helper.py, lora_model.py and utils.py).
    """
    config = json.loads((folder / "adapter_config.json").read_text())
    assert isinstance(config["r"], int)
    assert config["r"] <= max_lora_rank
    assert config["bias"] == "none"
    assert not config["modules_to_save"]
    assert not config["use_dora"]
    assert not config["use_rslora"]
    scale = config["lora_alpha"] / config["r"]
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in load_file(folder / "adapter_model.safetensors").items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", key)
        assert match is not None, key
        parts.setdefault(match[1], {})[match[2]] = tensor
    for name, part in parts.items():
        assert len(part["A"]) == part["B"].shape[1] <= max_lora_rank
        module = base.get_submodule(name)
        assert isinstance(module, nn.Linear | Conv1D)
        delta = scale * part["B"] @ part["A"]
        weight: Any = module.weight
        with torch.no_grad():
            weight.add_(delta if isinstance(module, nn.Linear) else delta.T)


@pytest.mark.parametrize("name", ["llama", "llama with patterns", "llama with its head", "gpt2"])
def test_vllms_reader(
    llama: Architecture, gpt2: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, name: str
) -> None:
    architecture = gpt2 if name == "gpt2" else llama
    fields: dict[str, Any] = PATTERNS if "patterns" in name else {}
    ranks = MIXED[architecture.name]
    if "head" in name:
        fields, ranks = {"target_modules": [*architecture.targets, "lm_head"]}, [*ranks, 3]
    model = sparse(wrap, architecture, ranks, **fields)
    expected = logits(model, tokens)
    # Without this, the head's own weight would lie in the file, as peft puts it there.
    save_as_lora(model, tmp_path, save_embedding_layers=False)
    base = architecture.model()
    assert (logits(base, tokens) - expected).abs().max() > 1e-3
    add_as_vllm_does(base, tmp_path, max_lora_rank=max(ranks))
    torch.testing.assert_close(logits(base, tokens), expected, atol=2e-6, rtol=0)
