"""What the installed peft computes from the LoRA of a MultiheadAttention."""

from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from amplitune.errors import ConfigError


def check_lora_attention() -> None:
    """Raise unless peft's LoRA of a MultiheadAttention is the sum of the weights and B A.

    peft 0.21.2 adds the change of the output projection twice, in each forward pass and when it merges.

    Raises:
        ConfigError: the installed peft does so.

    Source:
        github.com/huggingface/peft/pull/3774.
    """
    if not _adds_once():
        raise ConfigError(
            "A SoRA adapter of a MultiheadAttention can become a LoRA where peft's LoRA adds its change of "
            f"out_proj once, but peft {version('peft')} adds it twice and would compute something else "
            "(github.com/huggingface/peft/pull/3774). Merge the adapter instead (merge_and_unload), or use "
            "a peft that has this repaired."
        )


@cache
def _adds_once() -> bool:
    with torch.random.fork_rng(devices=[]):
        net: Any = nn.ModuleDict({"attention": nn.MultiheadAttention(1, 1)})
        get_peft_model(net, LoraConfig(r=1, lora_alpha=1, target_modules=["attention"]))
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    net["attention"].merge()
    # W + B A, all of them 1.
    merged: float = net["attention"].get_base_layer().out_proj.weight.item()
    return merged == 2
