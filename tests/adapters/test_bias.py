"""`bias`: biases of the base model that are trained, saved and loaded with an adapter."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits, train_one_step
from torch import Tensor

from amplitune.errors import ConfigError

FILE = "adapter_model.safetensors"


def biases(model: Any, targets_only: bool) -> set[str]:
    """The biases of a wrapped model's base, of the target modules alone or all."""
    end = ".base_layer.bias" if targets_only else ".bias"
    return {name for name in model.state_dict() if name.endswith(end) and "original_module" not in name}


@pytest.mark.parametrize("kind", ["all", "only"])
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_biases_are_trained_saved_and_loaded(
    method: str,
    bert: Architecture,
    wrap: Wrap,
    tokens: Tensor,
    tmp_path: Path,
    kind: str,
    low_cpu_mem_usage: bool,
) -> None:
    bias = "all" if kind == "all" else f"{method}_only"
    model: Any = wrap(method, bert, bias=bias)
    expected = biases(model, targets_only=kind == "only")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_one_step(model.train(), bert, tokens)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert len(expected) > 3
    assert expected <= changed
    assert all(f".{method}_" in name or "modules_to_save" in name for name in changed - expected)
    model.eval().save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(bert.model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_a_missing_bias_is_an_error(method: str, bert: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    wrap(method, bert, bias=f"{method}_only").save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / FILE)
    del tensors[next(key for key in tensors if key.endswith("base_layer.bias"))]
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"but lacks 1: .*base_layer\.bias"):
        PeftModel.from_pretrained(bert.model(), str(tmp_path))


def test_biases_come_along_where_the_config_says_none(
    method: str, bert: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap(method, bert, bias="all")
    train_one_step(model, bert, tokens)
    target = wrap(method, bert, seed=1)
    peft.set_peft_model_state_dict(target, peft.get_peft_model_state_dict(model))
    assert torch.equal(logits(target.eval(), tokens), logits(model.eval(), tokens))


def test_disabling_says_that_biases_stay_as_trained(method: str, bert: Architecture, wrap: Wrap) -> None:
    model: Any = wrap(method, bert, bias="all")
    with pytest.warns(UserWarning, match="disabling adapter layers with bias"), model.disable_adapter():
        pass


@pytest.mark.parametrize("bias", ["lora_only", "some", None])
def test_another_value_is_an_error_before_anything_is_wrapped(
    method: str, bert: Architecture, make_config: MakeConfig, bias: Any
) -> None:
    base = bert.model()
    with pytest.raises(ConfigError, match="`bias` must be"):
        peft.get_peft_model(base, make_config(method, bert, bias=bias))
    assert not any(f"{method}_" in name for name in base.state_dict())


def test_only_one_adapter_of_a_model_may_train_biases(
    method: str, bert: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    model: Any = wrap(method, bert, bias="all")
    with pytest.raises(ValueError, match="supports only 1 adapter with bias"):
        model.add_adapter("second", make_config(method, bert, bias="all"))
    assert list(model.peft_config) == ["default"]
    model.add_adapter("second", make_config(method, bert))
