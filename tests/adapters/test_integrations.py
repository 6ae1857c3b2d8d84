"""What peft and transformers offer beside PeftModel: status, pickling, loading, and what peft refuses."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig, PeftMixedModel, PeftModel, get_peft_model
from peft.helpers import check_if_peft_model
from peft.utils.hotswap import hotswap_adapter
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import adapter_layers, logits, train_one_step
from torch import Tensor


def test_model_and_layer_status(
    method: str, architecture: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    model: Any = wrap(method, architecture)
    model.add_adapter("second", make_config(method, architecture))
    status, layers = model.get_model_status(), model.get_layer_status()
    assert status.base_model_type == type(model.get_base_model()).__name__
    assert status.adapter_model_type == f"{type(model.base_model).__name__}"
    assert status.peft_types == {"default": method.upper(), "second": method.upper()}
    assert (status.enabled, status.active_adapters, status.merged_adapters) == (True, ["default"], [])
    assert status.requires_grad == {"default": True, "second": False}
    assert status.available_adapters == ["default", "second"]
    assert status.trainable_params == model.get_nb_trainable_parameters()[0]
    own = [layer for layer in layers if layer.module_type != "ModulesToSaveWrapper"]
    assert [layer.module_type for layer in own] == [type(layer).__name__ for layer in adapter_layers(model)]
    assert all(layer.devices == {"default": ["cpu"], "second": ["cpu"]} for layer in own)
    with model.disable_adapter():
        assert model.get_model_status().enabled is False


def test_transformers_loads_and_saves_an_adapter(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    one, two = wrap(method, llama, seed=1), wrap(method, llama, seed=2)
    one.save_pretrained(str(tmp_path / "one"))
    two.save_pretrained(str(tmp_path / "two"))
    model = llama.model()
    base = logits(model, tokens)
    model.load_adapter(str(tmp_path / "one"), adapter_name="one")
    model.load_adapter(str(tmp_path / "two"), adapter_name="two")
    model.eval()
    for name, expected in (("one", one), ("two", two)):
        model.set_adapter(name)
        assert model.active_adapters() == [name]
        assert torch.equal(logits(model, tokens), logits(expected, tokens))
    model.save_pretrained(str(tmp_path / "again"))
    again = llama.model()
    again.load_adapter(str(tmp_path / "again"))
    assert torch.equal(logits(again.eval(), tokens), logits(two, tokens))
    model.delete_adapter("two")
    model.set_adapter("one")
    assert torch.equal(logits(model, tokens), logits(one, tokens))
    model.delete_adapter("one")
    assert torch.equal(logits(model, tokens), base)


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_head_tied_to_the_embedding_is_a_target(
    method: str,
    gpt2: Architecture,
    make_config: MakeConfig,
    tokens: Tensor,
    tmp_path: Path,
    low_cpu_mem_usage: bool,
) -> None:
    base = gpt2.model()
    embedding = base.get_input_embeddings().weight
    start = embedding.detach().clone()
    model = get_peft_model(base, make_config(method, gpt2, target_modules=["lm_head"]))
    train_one_step(model, gpt2, tokens)
    assert model.get_output_embeddings().weight is embedding, "still tied"
    assert torch.equal(embedding, start), "and frozen"
    # peft saves the embeddings with an adapter around one of them.
    with pytest.warns(UserWarning, match="embedding layers found in `target_modules`"):
        model.eval().save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(gpt2.model(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


def test_the_adapter_named_in_a_folder_is_recognised(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    wrap(method, llama).save_pretrained(str(tmp_path))
    assert check_if_peft_model(str(tmp_path))


def test_the_base_models_state_dict(method: str, architecture: Architecture, wrap: Wrap) -> None:
    model, untouched = wrap(method, architecture), architecture.model()
    extracted = peft.get_base_model_state_dict(model)
    assert extracted.keys() == untouched.state_dict().keys()
    assert all(torch.equal(extracted[name], value) for name, value in untouched.state_dict().items())


def _saved(model: Any, folder: Path) -> Any:
    torch.save(model, folder / "model.pt")
    return torch.load(folder / "model.pt", weights_only=False)


COPIES: list[Callable[[Any, Path], Any]] = [lambda model, _: pickle.loads(pickle.dumps(model)), _saved]


@pytest.mark.parametrize("duplicate", COPIES, ids=["pickle", "torch.save"])
def test_a_wrapped_model_survives_pickling(
    method: str,
    architecture: Architecture,
    wrap: Wrap,
    tokens: Tensor,
    tmp_path: Path,
    duplicate: Callable[[Any, Path], Any],
) -> None:
    model: Any = wrap(method, architecture)
    twin = duplicate(model, tmp_path)
    assert twin.peft_config["default"].peft_type is model.peft_config["default"].peft_type
    assert torch.equal(logits(twin, tokens), logits(model, tokens))


def test_adapters_cannot_be_swapped_in_place(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    wrap(method, llama, seed=1).save_pretrained(str(tmp_path))
    model = wrap(method, llama)
    before = logits(model, tokens)
    with pytest.raises(ValueError, match=f"Hotswapping only supports .*LORA but .*{method.upper()}"):
        hotswap_adapter(model, str(tmp_path), adapter_name="default")
    assert torch.equal(logits(model, tokens), before)


def test_a_model_does_not_mix_methods(method: str, llama: Architecture, make_config: MakeConfig) -> None:
    config = make_config(method, llama)
    message = f"'{method.upper()}' is not compatible with the `PeftMixedModel`"
    base = llama.model()
    with pytest.raises(ValueError, match=message):
        get_peft_model(base, config, mixed=True)
    assert not adapter_layers(base)
    lora = LoraConfig(target_modules=list(llama.targets))
    mixed = get_peft_model(llama.model(), lora, mixed=True)
    assert isinstance(mixed, PeftMixedModel)
    with pytest.raises(ValueError, match=message):
        mixed.add_adapter("second", config)
    assert list(mixed.peft_config) == ["default"]
    plain: Any = get_peft_model(llama.model(), lora)
    with pytest.raises(ValueError, match=f"different peft types.*{method.upper()}"):
        plain.add_adapter("second", config)
    assert list(plain.peft_config) == ["default"]
