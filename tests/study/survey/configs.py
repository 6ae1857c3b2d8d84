"""Tiny models of three architectures, by config or with random weights, with settings that fit them."""

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedModel

from amplitune.study.running.models import AUTO_CLASSES

WIDTHS: dict[str, Any] = {"vocab_size": 300, "bos_token_id": 1, "eos_token_id": 2}

CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        architectures=["LlamaForCausalLM"],
        **WIDTHS,
    ),
    "gpt2": GPT2Config(n_embd=64, n_layer=2, n_head=4, architectures=["GPT2LMHeadModel"], **WIDTHS),
    "bert": BertConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        architectures=["BertForMaskedLM"],
    ),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "adamss": {"r": 16},
    "miss": {"r": 16},
    "peanut": {"depth": 1},
    "psoft": {"r": 8},
    "road": {"group_size": 16},
    "shira": {"r": 8, "random_seed": 0},
    "vera": {"r": 16},
    "waveft": {"n_frequency": 200},
}
"""Where peft's defaults are too large for widths of 32 to 96, or leave a term of the formula at nothing."""


def save(folder: Path) -> dict[str, str]:
    """Write each config below a folder, without weights."""
    for name, config in CONFIGS.items():
        config.save_pretrained(folder / name)
    return {name: str(folder / name) for name in CONFIGS}


def with_weights(name: str, **changes: Any) -> PreTrainedModel:
    """The model with random weights."""
    torch.manual_seed(0)
    config = type(CONFIGS[name])(**{**CONFIGS[name].to_dict(), **changes})
    kind = "classification" if name == "bert" else "generation"
    return AUTO_CLASSES[kind].from_config(config)
