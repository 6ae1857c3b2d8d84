"""Saving and loading: logits bit for bit, and no key too many or too few."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, PeftConfig, PeftModel
from safetensors.torch import load_file, save_file
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor

from amplitune.errors import ConfigError

AUTO = {
    "CAUSAL_LM": AutoPeftModelForCausalLM,
    "SEQ_CLS": AutoPeftModelForSequenceClassification,
}
FILE = "adapter_model.safetensors"


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip(
    method: str,
    architecture: Architecture,
    make_config: MakeConfig,
    tokens: Tensor,
    tmp_path: Path,
    low_cpu_mem_usage: bool,
    dtype: torch.dtype,
) -> None:
    model = peft.get_peft_model(architecture.model().to(dtype), make_config(method, architecture)).eval()
    model.save_pretrained(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "adapter_config.json", FILE]
    loaded = PeftModel.from_pretrained(
        architecture.model().to(dtype), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage
    )
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))
    own = {p.dtype for name, p in loaded.named_parameters() if f".{method}_" in name}
    assert own == {torch.float32}
    assert not any(p.requires_grad for p in loaded.parameters())
    first, again = (vars(wrapped.peft_config["default"]).copy() for wrapped in (model, loaded))
    # peft appends the names of classifier heads to the list once more at each load.
    assert set(first.pop("modules_to_save") or []) == set(again.pop("modules_to_save") or [])
    assert again == first | {"inference_mode": True}


def test_loading_to_train_on(
    method: str, architecture: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model = wrap(method, architecture)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path), is_trainable=True)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, p in loaded.named_parameters() if p.requires_grad} == trainable


def test_auto_model(
    method: str,
    architecture: Architecture,
    make_config: MakeConfig,
    saved_base: Callable[[Architecture], str],
    tokens: Tensor,
    tmp_path: Path,
) -> None:
    base = saved_base(architecture)
    source: Any = architecture.model()
    source = type(source).from_pretrained(base)
    model = peft.get_peft_model(source, make_config(method, architecture)).eval()
    model.save_pretrained(str(tmp_path / "adapter"))
    assert PeftConfig.from_pretrained(str(tmp_path / "adapter")).base_model_name_or_path == base
    loaded = AUTO[architecture.task_type].from_pretrained(str(tmp_path / "adapter"))
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_several_adapters_in_one_folder(
    method: str,
    architecture: Architecture,
    wrap: Wrap,
    make_config: MakeConfig,
    tokens: Tensor,
    tmp_path: Path,
) -> None:
    model: Any = wrap(method, architecture)
    first = logits(model, tokens)
    model.add_adapter("second", make_config(method, architecture))
    model.eval().set_adapter("second")
    second = logits(model, tokens)
    model.save_pretrained(str(tmp_path))
    loaded: Any = PeftModel.from_pretrained(architecture.model(), str(tmp_path))
    result = loaded.load_adapter(str(tmp_path / "second"), "other-name")
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert torch.equal(logits(loaded, tokens), first)
    loaded.set_adapter("other-name")
    assert torch.equal(logits(loaded, tokens), second)


def _drop(tensors: dict[str, Tensor], method: str) -> None:
    del tensors[
        next(key for key in tensors if key.endswith(f".{method}_" + ("up_proj", "gate")[method == "sora"]))
    ]


def _add(tensors: dict[str, Tensor], method: str) -> None:
    key = next(key for key in tensors if f".{method}_" in key)
    tensors[key.replace(".0.", ".7.")] = torch.zeros(1)


def _add_foreign(tensors: dict[str, Tensor], method: str) -> None:
    tensors["base_model.model.something.lora_A.weight"] = torch.zeros(1)


def _rename(tensors: dict[str, Tensor], method: str) -> None:
    key = next(key for key in tensors if f".{method}_" in key)
    tensors[f"{key}_old"] = tensors.pop(key)


def _overwrite_the_base(tensors: dict[str, Tensor], method: str) -> None:
    key = next(key for key in tensors if f".{method}_" in key)
    tensors[f"{key.rsplit('.', 1)[0]}.base_layer.weight"] = torch.zeros(1)


def _empty(tensors: dict[str, Tensor], method: str) -> None:
    for key in [key for key in tensors if f".{method}_" in key]:
        del tensors[key]


DAMAGE: list[tuple[Callable[[dict[str, Tensor], str], None], str]] = [
    (_drop, "but lacks 1: "),
    (_add, "but adds 1: "),
    (_add_foreign, r"but adds 1: .*something\.lora_A"),
    (_rename, "but lacks 1: .*, but adds 1: .*_old"),
    (_overwrite_the_base, "but adds 1: .*base_layer.weight"),
    (_empty, "but lacks [0-9]+: .* and [0-9]+ more"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_missing_and_unexpected_keys_are_errors(
    method: str,
    architecture: Architecture,
    wrap: Wrap,
    tmp_path: Path,
    damage: Callable[[dict[str, Tensor], str], None],
    message: str,
    low_cpu_mem_usage: bool,
) -> None:
    model: Any = wrap(method, architecture)
    model.save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / FILE)
    damage(tensors, method)
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=message):
        PeftModel.from_pretrained(architecture.model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigError, match=message):
        model.load_adapter(str(tmp_path), "default")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "half loaded"


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_file_in_half_precision_is_loaded_in_float32_and_stays_frozen(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path, low_cpu_mem_usage: bool
) -> None:
    wrap(method, llama).save_pretrained(str(tmp_path))
    tensors = {key: value.to(torch.bfloat16) for key, value in load_file(tmp_path / FILE).items()}
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    own = [p for name, p in loaded.named_parameters() if f".{method}_" in name]
    assert len(own) == 12
    assert {(p.dtype, p.requires_grad) for p in own} == {(torch.float32, False)}


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("names", [["weight"], ["bias", "weight"]])
def test_a_missing_module_to_save_is_an_error(
    method: str, bert: Architecture, wrap: Wrap, tmp_path: Path, names: list[str], safe: bool
) -> None:
    wrap(method, bert).save_pretrained(str(tmp_path))
    tensors = load_file(tmp_path / FILE)
    for name in names:
        del tensors[f"base_model.model.classifier.{name}"]
    if safe:
        save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    else:
        (tmp_path / FILE).unlink()
        torch.save(tensors, tmp_path / "adapter_model.bin")
    base, other = bert.model(), wrap(method, bert)
    before = [(name, id(value)) for name, value in base.named_parameters()]
    for load in (
        lambda: PeftModel.from_pretrained(base, str(tmp_path)),
        lambda: other.load_adapter(str(tmp_path), "second"),
    ):
        with pytest.raises(ConfigError, match=rf"'classifier'.*but lacks .*classifier\.{names[0]}"):
            load()
    assert [(name, id(value)) for name, value in base.named_parameters()] == before
    assert not hasattr(base, "peft_config")
    assert list(other.peft_config) == ["default"]


def test_modules_to_save_of_several_layers_come_along(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model: Any = wrap(method, llama, modules_to_save=["down_proj", "input_layernorm", "lm_head"])
    model.save_pretrained(str(tmp_path))
    loaded: Any = PeftModel.from_pretrained(llama.model(), str(tmp_path))
    # The second time their modules are wrapped already.
    loaded.load_adapter(str(tmp_path), "second")
    for name in ("default", "second"):
        loaded.set_adapter(name)
        assert torch.equal(logits(loaded, tokens), logits(model, tokens))
    tensors = load_file(tmp_path / FILE)
    del tensors["base_model.model.model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, tmp_path / FILE, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"but lacks down_proj\.weight\."):
        PeftModel.from_pretrained(llama.model(), str(tmp_path))


def test_a_resized_vocabulary_comes_along(
    method: str, llama: Architecture, make_config: MakeConfig, tokens: Tensor, tmp_path: Path
) -> None:
    base = llama.model()
    base.resize_token_embeddings(60)
    model = peft.get_peft_model(base, make_config(method, llama)).eval()
    model.save_pretrained(str(tmp_path), save_embedding_layers=True)
    assert any("embed_tokens" in key for key in load_file(tmp_path / FILE))
    target = llama.model()
    target.resize_token_embeddings(60)
    loaded = PeftModel.from_pretrained(target, str(tmp_path))
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


@pytest.mark.parametrize("kind", ["resized", "trained in full", "targets"])
def test_another_vocabulary_is_an_error_that_names_its_size(
    llama: Architecture, make_config: MakeConfig, tmp_path: Path, kind: str
) -> None:
    base = llama.model()
    base.resize_token_embeddings(60)
    options: dict[str, Any] = {
        "resized": {},
        "trained in full": {"modules_to_save": ["lm_head"]},
        "targets": {"target_modules": ["embed_tokens", "lm_head"]},
    }[kind]
    model = peft.get_peft_model(base, make_config("sora", llama, **options))
    model.save_pretrained(str(tmp_path), save_embedding_layers=kind == "resized")
    with pytest.raises(
        ConfigError, match=r"vocabulary of 60, the model has 50: .*resize_token_embeddings\(60\)"
    ):
        PeftModel.from_pretrained(llama.model(), str(tmp_path))
    base = llama.model()
    base.resize_token_embeddings(60)
    PeftModel.from_pretrained(base, str(tmp_path))


def test_injected_adapters_load_through_pefts_functions(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model = wrap(method, llama)
    state = peft.get_peft_model_state_dict(model)
    injected = peft.inject_adapter_in_model(make_config(method, llama), llama.model())
    peft.set_peft_model_state_dict(injected, state)
    assert torch.equal(logits(injected.eval(), tokens), logits(model, tokens))
    state.popitem()
    with pytest.raises(ConfigError, match="but lacks 1: "):
        peft.set_peft_model_state_dict(injected, state)
