"""What QAA layers that read one tensor keep for the backward pass: that tensor, once, for all of them."""

import contextlib
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRotaryEmbedding
from transformers.pytorch_utils import Conv1D

from amplitune import QAAConfig

WIDTH, TOKENS = 24, 50
QKV = ["q_proj", "k_proj", "v_proj"]


class Attention(nn.Module):
    """Llama's attention, which hands one tensor to three projections."""

    def __init__(self) -> None:
        super().__init__()
        config: Any = LlamaConfig(hidden_size=WIDTH, num_attention_heads=4, num_key_value_heads=2)
        config._attn_implementation = "eager"
        self.attention = LlamaAttention(config, layer_idx=0)
        self.rotary = LlamaRotaryEmbedding(config)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.rotary(x, torch.arange(x.shape[1])[None])
        out: Tensor = self.attention(x, positions, None)[0]
        return out


class Transposed(nn.Module):
    """Three of GPT-2's Conv1D."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (Conv1D(WIDTH, WIDTH) for _ in QKV)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.q_proj(x) * self.k_proj(x) + self.v_proj(x)
        return total


def kept(model: nn.Module, x: Tensor, autocast: bool) -> dict[int, tuple[int, torch.dtype]]:
    """Address, bytes and dtype of each storage that holds as much as the input and is no parameter."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, tuple[int, torch.dtype]] = {}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes(), tensor.dtype
            alive.append(tensor)
        return tensor

    context: Any = torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext()
    with context, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(x)
    return storages


@pytest.mark.parametrize("build", [Attention, Transposed])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("share_circuit", [False, True])
def test_the_input_of_several_modules_is_kept_once(
    build: Any, dtype: torch.dtype, autocast: bool, share_circuit: bool
) -> None:
    bare = build().to(dtype).requires_grad_(False)
    x = torch.randn(1, TOKENS, WIDTH, dtype=dtype, requires_grad=True)
    without = kept(bare, x, autocast)
    config = QAAConfig(target_modules=QKV, init_weights=False, share_circuit=share_circuit)
    model = peft.get_peft_model(bare, config)
    found = kept(model, x, autocast)
    address = x.untyped_storage().data_ptr()
    assert found[address] == (x.nbytes, dtype)
    # What the bare model keeps, the input, and of each circuit a few numbers a token at most.
    readouts = 3 * TOKENS * 5 * 4 if share_circuit else 0
    angles = 3 * 5 * 4
    assert sum(size for size, _ in found.values()) <= (
        sum(size for size, _ in without.values()) + x.nbytes * (address not in without) + readouts + angles
    )
