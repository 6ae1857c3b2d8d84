"""Trials of an adapter's life: saved, loaded, added, switched, merged, combined, copied."""

import copy
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import AutoPeftModelForCausalLM, PeftMixedModel, PeftModel, get_model_status, get_peft_model
from peft.utils.hotswap import hotswap_adapter
from recipes.capabilities.trial import (
    TOKENS,
    Trial,
    UnsupportedError,
    config,
    different,
    llama,
    logits,
    same,
    trained,
    wrapped,
)
from safetensors.torch import load_file

GROUP = "Life of an adapter"


def save_and_load(method: str, **how: Any) -> None:
    """Save an adapter and open it on a fresh base model."""
    model = wrapped(method)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        assert len(load_file(Path(folder) / "adapter_model.safetensors")) >= 8
        same(logits(PeftModel.from_pretrained(llama(), folder, **how).eval()), logits(model))


def auto_model(method: str) -> None:
    """Open an adapter by AutoPeftModel, which finds the base model by its name."""
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = Path(folder, "base"), Path(folder, "adapter")
        llama().save_pretrained(base)
        opened = type(llama()).from_pretrained(base)
        model = get_peft_model(opened, config(method, task_type="CAUSAL_LM")).eval()
        model.save_pretrained(adapter)
        same(logits(AutoPeftModelForCausalLM.from_pretrained(adapter).eval()), logits(model))


def several(method: str) -> None:
    """Add a second adapter, switch to it and back, and delete it."""
    model = wrapped(method)
    first = logits(model)
    model.add_adapter("second", config(method, task_type="CAUSAL_LM"))
    model.set_adapter("second")
    different(logits(model.eval()), first)
    model.set_adapter("default")
    same(logits(model), first)
    model.delete_adapter("second")
    assert list(model.peft_config) == ["default"]
    same(logits(model), first)


def disable_and_unload(method: str) -> None:
    """Switch the adapter off, and take it out."""
    model, base = wrapped(method), logits(llama())
    with model.disable_adapter():
        same(logits(model), base)
    different(logits(model), base)
    same(logits(model.unload()), base)


def merge(method: str, **fields: Any) -> None:
    """Merge, take back, and merge for good, with a check for infinities."""
    model = wrapped(method, **fields)
    expected = logits(model)
    model.merge_adapter()
    same(logits(model), expected)
    model.unmerge_adapter()
    same(logits(model), expected)
    merged = model.merge_and_unload(safe_merge=True)
    assert not any("lora_" in name or "sora_" in name or "qaa_" in name for name in merged.state_dict())
    same(logits(merged), expected)


def merge_linear(method: str) -> None:
    """Merge a circuit whose values are linear in the input."""
    linear = {"readout": "interferometric", "norm": "restore", "up_proj_bias": False}
    merge(method, **(linear if method == "QAA" else {}))


def mixed_batch(method: str) -> None:
    """Give each row of a batch an adapter of its own."""
    model = wrapped(method)
    model.add_adapter("second", config(method, task_type="CAUSAL_LM"))
    model.eval()
    with torch.no_grad():
        mixed = model(input_ids=TOKENS, adapter_names=["second", "__base__"]).logits
    same(mixed[1:], logits(llama())[1:])
    model.set_adapter("second")
    same(mixed[:1], logits(model)[:1])


def weighted(method: str) -> None:
    """Combine two adapters into a third."""
    model = wrapped(method)
    model.add_adapter("second", config(method, task_type="CAUSAL_LM"))
    model.add_weighted_adapter(["default", "second"], [0.5, 1.0], "both", combination_type="cat")
    model.set_adapter("both")
    different(logits(model.eval()), logits(llama()))


def patterns(method: str) -> None:
    """Give single modules settings of their own."""
    own: dict[str, Any] = {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 3}}
    if method == "QAA":
        own = {"depth_pattern": {"v_proj": 3}, "readout_pattern": {"q_proj": "XYZ"}}
    model = wrapped(method, **own)
    shapes = {
        name.split(".")[-3]: value.shape for name, value in model.named_parameters() if ".layers.0." in name
    }
    assert shapes
    trained(model)


def bias(method: str) -> None:
    """Train the base model's biases too, and save them beside the adapter."""
    torch.manual_seed(0)
    model = get_peft_model(
        llama(attention_bias=True), config(method, task_type="CAUSAL_LM", bias=f"{method.lower()}_only")
    )
    trained(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = PeftModel.from_pretrained(llama(attention_bias=True), folder).eval()
        same(logits(again), logits(model))


def modules_to_save(method: str) -> None:
    """Train a module in full and save it beside the adapter."""
    model = wrapped(method, modules_to_save=["lm_head"])
    trained(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        same(logits(PeftModel.from_pretrained(llama(), folder).eval()), logits(model))


def targets(method: str) -> None:
    """Choose modules by a pattern, all of them, some layers, and all but some."""
    for fields, count in (
        ({"target_modules": "all-linear"}, 14),
        ({"target_modules": r".*\.layers\.1\..*q_proj"}, 1),
        ({"target_modules": ["q_proj"], "layers_to_transform": [0]}, 1),
        ({"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj"]}, 2),
        ({"target_modules": None}, 4),
    ):
        assert len(wrapped(method, **fields).targeted_module_names) == count, fields


def tied(method: str) -> None:
    """Adapt a model whose head is its embedding."""
    model = get_peft_model(llama(tie_word_embeddings=True), config(method, task_type="CAUSAL_LM"))
    trained(model)
    weights = model.get_base_model()
    assert weights.lm_head.weight is weights.model.embed_tokens.weight


def status(method: str) -> None:
    """Ask peft for the state of the adapters."""
    found = get_model_status(wrapped(method))
    assert list(found.peft_types.values()) == [method.upper()]
    assert found.num_adapter_layers == 4
    assert found.trainable_params > 0


def model_card(method: str) -> None:
    """Find in the saved README what has to be imported to open the adapter."""
    with tempfile.TemporaryDirectory() as folder:
        wrapped(method).save_pretrained(folder)
        card = Path(folder, "README.md").read_text(encoding="utf-8")
        assert method == "LoRA" or "import amplitune" in card, "the card does not name amplitune"


def transformers_adapters(method: str) -> None:
    """Use transformers' own add_adapter, load_adapter, delete_adapter."""
    with tempfile.TemporaryDirectory() as folder:
        wrapped(method).save_pretrained(folder)
        model = llama()
        base = logits(model)
        model.load_adapter(folder)
        same(logits(model), logits(wrapped(method)))
        model.delete_adapter("default")
        same(logits(model), base)
        model.add_adapter(config(method))
        different(logits(model), base)


def half_precision(method: str) -> None:
    """Keep a float32 adapter on a bfloat16 model."""
    model = get_peft_model(llama().to(torch.bfloat16), config(method, task_type="CAUSAL_LM"))
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert logits(model).dtype == torch.bfloat16


def copies(method: str) -> None:
    """Copy a model deeply, and pickle it."""
    model = wrapped(method)
    same(logits(copy.deepcopy(model)), logits(model))
    same(logits(pickle.loads(pickle.dumps(model))), logits(model))  # noqa: S301  # our own bytes


def hotswap(method: str) -> None:
    """Swap the weights of an adapter in place."""
    with tempfile.TemporaryDirectory() as folder:
        other = wrapped(method, seed=5)
        other.save_pretrained(folder)
        model = wrapped(method)
        hotswap_adapter(model, folder, "default")
        same(logits(model), logits(other))


def mixed_model(method: str) -> None:
    """Put it into one model with an adapter of another method."""
    model = get_peft_model(llama(), config("LoRA"), mixed=True)
    assert isinstance(model, PeftMixedModel)
    if method == "LoRA":
        return
    model.add_adapter("second", config(method))
    model.set_adapter(["default", "second"])
    logits(model)


def to_lora(method: str) -> None:
    """Turn the adapter into a LoRA adapter."""
    if method == "SoRA":
        from amplitune import prune_to_lora

        model = wrapped(method)
        expected = logits(model)
        lora = prune_to_lora(model)
        assert lora.peft_config["default"].peft_type == "LORA"
        same(logits(lora.eval()), expected)
        return
    from peft import convert_to_lora

    try:
        lora_config, tensors = convert_to_lora(wrapped(method), rank=8)
    except TypeError as error:
        raise UnsupportedError(str(error)) from error
    assert lora_config.peft_type == "LORA"
    assert tensors


def complete_config(method: str) -> None:
    """Find in adapter_config.json which version of the files it is."""
    with tempfile.TemporaryDirectory() as folder:
        wrapped(method).save_pretrained(folder)
        saved = json.loads(Path(folder, "adapter_config.json").read_text(encoding="utf-8"))
    assert "format_version" in saved or "peft_version" in saved


TRIALS = tuple(
    Trial(GROUP, name, run)
    for name, run in (
        ("`save_pretrained`, `from_pretrained`", save_and_load),
        ("`low_cpu_mem_usage=True`", lambda method: save_and_load(method, low_cpu_mem_usage=True)),
        ("`AutoPeftModel`", auto_model),
        ("transformers' `add_adapter`, `load_adapter`, `delete_adapter`", transformers_adapters),
        ("several adapters: add, set, delete", several),
        ("`disable_adapter`, `unload`", disable_and_unload),
        ("`merge_adapter`, `unmerge_adapter`, `merge_and_unload(safe_merge=True)`", merge),
        ("the same, readout linear in the input (`interferometric`, `norm: restore`)", merge_linear),
        ("batches that mix adapters (`adapter_names=`)", mixed_batch),
        ("`add_weighted_adapter`", weighted),
        ("settings by module (`rank_pattern`, `depth_pattern`, ...)", patterns),
        ("`bias`", bias),
        ("`modules_to_save`", modules_to_save),
        ('targets by list, regex, "all-linear", layers, exclusion, architecture', targets),
        ("tied weights", tied),
        ("float32 adapter on a bfloat16 model", half_precision),
        ("`get_model_status`", status),
        ("model card names what to import", model_card),
        ("version of the files in `adapter_config.json`", complete_config),
        ("`deepcopy`, pickle", copies),
        ("conversion to LoRA", to_lora),
        ("`hotswap_adapter`", hotswap),
        ("`PeftMixedModel`", mixed_model),
    )
)
