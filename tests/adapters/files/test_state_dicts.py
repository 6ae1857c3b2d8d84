"""The tensors that are saved and loaded where torch's wrappers stand around the layers of a model."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor, distributed
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper, offload_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from amplitune.errors import ConfigError

FILE = "adapter_model.safetensors"


def wrap_layers(model: Any, around: str) -> None:
    """Put wrappers around decoder layers or adapted projections, every other one of the offloading kind."""
    for index, layer in enumerate(model.get_base_model().model.layers):
        put = (checkpoint_wrapper, offload_wrapper)[index % 2]
        if around == "layers":
            model.get_base_model().model.layers[index] = put(layer)
        else:
            layer.self_attn.q_proj = put(layer.self_attn.q_proj)


@pytest.mark.parametrize("around", ["layers", "projections"])
def test_wrapped_layers_are_saved(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, around: str
) -> None:
    """peft 0.21 leaves them out of the file without a word."""
    model: Any = wrap(method, llama)
    model.save_pretrained(str(tmp_path / "before"))
    wrap_layers(model, around)
    model.save_pretrained(str(tmp_path / "after"))
    before, after = (load_file(tmp_path / name / FILE) for name in ("before", "after"))
    assert len(before) >= 4
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path / "after"))
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


@pytest.mark.parametrize("around", ["layers", "projections"])
def test_wrapped_layers_are_loaded(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, around: str
) -> None:
    saved: Any = wrap(method, llama, seed=1)
    saved.save_pretrained(str(tmp_path))
    model: Any = wrap(method, llama)
    wrap_layers(model, around)
    assert not torch.equal(logits(model, tokens), logits(saved, tokens))
    result = model.load_adapter(str(tmp_path), "default")
    assert not result.unexpected_keys
    assert torch.equal(logits(model, tokens), logits(saved, tokens))
    state = peft.get_peft_model_state_dict(saved)
    state.popitem()
    with pytest.raises(ConfigError, match="but lacks 1: "):
        peft.set_peft_model_state_dict(model, state)


def test_biases_of_wrapped_layers_are_saved(
    method: str, gpt2: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    model: Any = wrap(method, gpt2, bias=f"{method}_only")
    model.save_pretrained(str(tmp_path / "before"))
    blocks = model.get_base_model().transformer.h
    blocks[0] = checkpoint_wrapper(blocks[0])
    model.save_pretrained(str(tmp_path / "after"))
    before, after = (load_file(tmp_path / name / FILE).keys() for name in ("before", "after"))
    assert sum(key.endswith("base_layer.bias") for key in before) == 6
    assert before == after


def test_layers_that_fsdp_1_wraps_one_by_one_are_saved(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    model = wrap(method, llama)
    before = {key: value.clone() for key, value in peft.get_peft_model_state_dict(model).items()}
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        sharded = FullyShardedDataParallel(
            model,
            auto_wrap_policy=ModuleWrapPolicy({LlamaDecoderLayer}),
            use_orig_params=True,
            device_id=torch.device("cpu"),
        )
        with FullyShardedDataParallel.state_dict_type(sharded, StateDictType.FULL_STATE_DICT):
            state = sharded.state_dict()
        after = peft.get_peft_model_state_dict(sharded.module, state_dict=state)
    finally:
        distributed.destroy_process_group()
    assert len(before) >= 8
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
