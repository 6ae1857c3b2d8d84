"""Files that cannot be loaded: a clear error through each of peft's loaders, and nothing is half loaded."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
from safetensors.torch import load_file, save_file
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def _edit_tensors(folder: Path, edit: Callable[[dict[str, Tensor], str], None]) -> None:
    tensors = load_file(folder / TENSORS)
    edit(tensors, next(key for key in sorted(tensors) if "layers.1.self_attn.v_proj" in key))
    save_file(tensors, folder / TENSORS, metadata={"format": "pt"})


def _edit_config(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | changes))


def _longer(tensors: dict[str, Tensor], key: str) -> None:
    tensors[key] = torch.cat([tensors[key], tensors[key][:1]])


def _flattened(tensors: dict[str, Tensor], key: str) -> None:
    tensors[key] = tensors[key].flatten()[None]


def _integers(tensors: dict[str, Tensor], key: str) -> None:
    tensors[key] = tensors[key].to(torch.int8)


def _gone(tensors: dict[str, Tensor], key: str) -> None:
    del tensors[key]


def _cut(folder: Path, length: int) -> None:
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[:length])


@dataclass(frozen=True)
class Damage:
    """What happens to an adapter's folder, and what the error then says."""

    name: str
    do: Callable[[Path], None]
    message: str


DAMAGES = [
    Damage(
        "longer", lambda folder: _edit_tensors(folder, _longer), r"does not in 1: .*float32 .* instead of"
    ),
    Damage("flattened", lambda folder: _edit_tensors(folder, _flattened), r"does not in 1: .*instead of"),
    Damage("integers", lambda folder: _edit_tensors(folder, _integers), r"int8 .* instead of float32"),
    Damage("gone", lambda folder: _edit_tensors(folder, _gone), r"lacks 1: .*layers\.1\.self_attn\.v_proj"),
    Damage("end cut", lambda folder: _cut(folder, -20), f"{TENSORS} must hold .*cannot be read"),
    Damage("header cut", lambda folder: _cut(folder, 40), f"{TENSORS} must hold .*cannot be read"),
    Damage("empty", lambda folder: _cut(folder, 0), f"{TENSORS} must hold .*cannot be read"),
    Damage(
        "later version",
        lambda folder: _edit_config(folder, format_version=2, key_of_version_2=1),
        r"`format_version` must be at most 1 for amplitune .*is 2: .*pip install -U amplitune",
    ),
    Damage(
        "misspelt key",
        lambda folder: _edit_config(folder, exclude_module=["q_proj"]),
        r"`exclude_module` is not a field of .*Did you mean 'exclude_modules'",
    ),
    Damage(
        "targets of another model",
        lambda folder: _edit_config(folder, target_modules=["c_attn"]),
        r"`target_modules` must match at least one",
    ),
    Damage(
        "more targets than tensors",
        lambda folder: _edit_config(folder, target_modules=["q_proj", "v_proj", "o_proj"]),
        r"lacks \d+: .*o_proj",
    ),
]


def _state(model: Any) -> dict[str, tuple[Tensor, bool]]:
    return {name: (p.detach().clone(), p.requires_grad) for name, p in model.named_parameters()}


def _same(model: Any, before: dict[str, tuple[Tensor, bool]]) -> bool:
    now = _state(model)
    return now.keys() == before.keys() and all(
        torch.equal(value, before[name][0]) and trains == before[name][1]
        for name, (value, trains) in now.items()
    )


@pytest.fixture
def damaged(method: str, llama: Architecture, wrap: Wrap, tmp_path: Path) -> Callable[[Damage], Path]:
    """Save an adapter of the method and damage its files."""

    def damage(kind: Damage) -> Path:
        folder = tmp_path / "adapter"
        wrap(method, llama).save_pretrained(str(folder))
        kind.do(folder)
        return folder

    return damage


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.name for damage in DAMAGES])
def test_the_model_stays_as_it_was(
    llama: Architecture, damaged: Callable[[Damage], Path], damage: Damage, low_cpu_mem_usage: bool
) -> None:
    folder, model = damaged(damage), llama.model()
    before = _state(model)
    with pytest.raises(ConfigError, match=f"(?s){damage.message}"):
        PeftModel.from_pretrained(model, str(folder), low_cpu_mem_usage=low_cpu_mem_usage)
    assert _same(model, before)
    assert not any(isinstance(module, AdapterLayer) for module in model.modules())
    assert not hasattr(model, "peft_config")


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.name for damage in DAMAGES])
def test_the_other_adapters_stay_as_they_were(
    method: str,
    llama: Architecture,
    wrap: Wrap,
    damaged: Callable[[Damage], Path],
    damage: Damage,
    tokens: Tensor,
) -> None:
    folder, model = damaged(damage), wrap(method, llama, seed=1)
    before, expected = _state(model), logits(model, tokens)
    with pytest.raises(ConfigError, match=f"(?s){damage.message}"):
        model.load_adapter(str(folder), "second")
    assert list(model.peft_config) == ["default"]
    assert model.active_adapters == ["default"]
    assert _same(model, before)
    assert torch.equal(logits(model, tokens), expected)
    # The name is free again.
    wrap(method, llama, seed=2).save_pretrained(str(folder))
    model.load_adapter(str(folder), "second")
    model.set_adapter("second")
    assert torch.equal(logits(model, tokens), logits(wrap(method, llama, seed=2), tokens))


def test_an_auto_model_says_the_same(
    method: str,
    llama: Architecture,
    make_config: MakeConfig,
    saved_base: Callable[[Architecture], str],
    tmp_path: Path,
) -> None:
    base = type(llama.model()).from_pretrained(saved_base(llama))
    folder = tmp_path / "adapter"
    peft.get_peft_model(base, make_config(method, llama)).save_pretrained(str(folder))
    AutoPeftModelForCausalLM.from_pretrained(str(folder))
    _edit_tensors(folder, _longer)
    with pytest.raises(ConfigError, match="instead of"):
        AutoPeftModelForCausalLM.from_pretrained(str(folder))


def test_an_adapter_of_another_width_is_refused(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig, tmp_path: Path
) -> None:
    wrap(method, llama).save_pretrained(str(tmp_path))
    wider = copy.deepcopy(llama.model().config)
    wider.hidden_size = 40
    model = type(llama.model())(wider)
    with pytest.raises(ConfigError, match=r"does not in \d+: .*instead of .*another model") as raised:
        PeftModel.from_pretrained(model, str(tmp_path))
    assert "resize_token_embeddings" not in str(raised.value)
    assert not any(isinstance(module, AdapterLayer) for module in model.modules())
    wrapped = peft.get_peft_model(model, make_config(method, llama))
    before = _state(wrapped)
    with pytest.raises(ConfigError, match="another model"):
        peft.set_peft_model_state_dict(wrapped, load_file(tmp_path / TENSORS))
    assert _same(wrapped, before)
    assert list(wrapped.peft_config) == ["default"]


def test_tensors_of_another_method_are_refused(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    other = {"qaa": "sora", "sora": "control", "control": "qaa"}[method]
    wrap(method, llama).save_pretrained(str(tmp_path / method))
    wrap(other, llama).save_pretrained(str(tmp_path / other))
    (tmp_path / other / TENSORS).rename(tmp_path / method / TENSORS)
    with pytest.raises(ConfigError, match=rf"lacks \d+: .*{method}_.*adds \d+: .*{other}_"):
        PeftModel.from_pretrained(llama.model(), str(tmp_path / method))
    model = wrap(method, llama)
    (tmp_path / other / TENSORS).write_bytes(b"")
    with pytest.raises(ValueError, match="different peft types"):
        model.load_adapter(str(tmp_path / other), "second")
    assert list(model.peft_config) == ["default"]


def test_a_file_loaded_into_a_trained_adapter_does_not_remove_it(
    llama: Architecture, wrap: Wrap, method: str, tmp_path: Path
) -> None:
    wrap(method, llama).save_pretrained(str(tmp_path))
    config = PeftConfig.from_pretrained(str(tmp_path))
    config = type(config).from_pretrained(str(tmp_path))
    config.inference_mode = False
    model = peft.get_peft_model(llama.model(), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    before = _state(model)
    _edit_tensors(tmp_path, _longer)
    with pytest.raises(ConfigError, match="instead of"):
        model.load_adapter(str(tmp_path), "default")
    assert list(model.peft_config) == ["default"]
    assert _same(model, before)


def test_a_loaded_config_is_an_ordinary_one(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    model = wrap(method, llama)
    model.save_pretrained(str(tmp_path))
    config = type(model.peft_config["default"]).from_pretrained(str(tmp_path))
    for again in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert again == config
        assert again.to_dict() == config.to_dict()


def test_a_pickled_file_is_read_too(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model = wrap(method, llama)
    model.save_pretrained(str(tmp_path), safe_serialization=False)
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path))
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))
    path = tmp_path / "adapter_model.bin"
    base = llama.model()
    for content in (path.read_bytes()[:-100], b"", b"no pickle"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"adapter_model\.bin must hold"):
            PeftModel.from_pretrained(base, str(tmp_path))
        assert not any(isinstance(module, AdapterLayer) for module in base.modules())


def test_a_folder_without_tensors(method: str, llama: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    model = wrap(method, llama)
    model.save_pretrained(str(tmp_path))
    (tmp_path / TENSORS).unlink()
    before = _state(model)
    with pytest.raises(ConfigError, match=f"must hold {TENSORS} beside"):
        model.load_adapter(str(tmp_path), "second")
    assert list(model.peft_config) == ["default"]
    assert _same(model, before)
    # It is enough to make an adapter anew.
    config = type(model.peft_config["default"]).from_pretrained(str(tmp_path))
    assert len(_state(peft.get_peft_model(llama.model(), config))) == len(before)
