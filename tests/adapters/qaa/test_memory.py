"""What QAA keeps for the backward pass, and takes at most in a training step, against LoRA of rank 8."""

from typing import Any

import peft
import pytest
import torch
from tests.quantum.kernels.native_cases import needs_compiler
from torch import Tensor, nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from amplitune import QAAConfig
from amplitune.quantum.kernels.dispatch import kernel
from amplitune.quantum.operators import backward_op, expectation_op
from amplitune.quantum.projection import project_op, project_values_op
from amplitune.study.running.memory_tracking import MemoryTrace

TOKENS = 64


def saved_bytes_per_token(config: Any, width: int, dtype: torch.dtype) -> float:
    """Bytes that a linear layer with an adapter saves, each storage once, without what is a parameter."""
    base = nn.Sequential(nn.Linear(width, width, dtype=dtype))
    model = peft.get_peft_model(base, config)
    owned = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def saved(tokens: int) -> int:
        storages: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in owned:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        x = torch.randn(tokens, width, dtype=dtype, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = model(x)
        out.sum().backward()
        return sum(storages.values())

    # The difference leaves out what does not grow with the tokens.
    return (saved(2 * TOKENS) - saved(TOKENS)) / TOKENS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [96, 768, 2048])
def test_qaa_saves_no_more_than_lora_at_any_depth(width: int, dtype: torch.dtype) -> None:
    lora = saved_bytes_per_token(peft.LoraConfig(r=8, target_modules=["0"]), width, dtype)
    # LoRA keeps its input in the dtype of its weights and the 8 values between its factors.
    assert lora >= width * dtype.itemsize + 8 * 4
    measured = {
        options: saved_bytes_per_token(
            QAAConfig(
                target_modules=["0"], depth=depth, rotation=rotation, readout=readout, circuits=circuits
            ),
            width,
            dtype,
        )
        for options in [
            (1, "RY", "Z", 1),
            (4, "RY", "Z+ZZ", 1),
            (8, "RY", "Z", 2),
            (1, "Rot", "XYZ", 1),
            (3, "Rot", "Z", 1),
            (1, "RYRZ", "interferometric", 1),
        ]
        for depth, rotation, readout, circuits in [options]
    }
    assert len(measured) == 6
    assert set(measured.values()) == {width * dtype.itemsize}
    assert max(measured.values()) <= lora


OPERATORS: dict[str, Any] = {
    op._qualname: op for op in (expectation_op, backward_op, project_op, project_values_op)
}


class InsideOperators(MemoryTrace):
    """Follows the tensors that amplitune's operators make inside, too."""

    visited = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        operator = OPERATORS.get(func._schema.name)
        if operator is None:
            return super().__torch_dispatch__(func, types, args, kwargs)
        self.visited += 1
        with self:
            return operator._init_fn(*args, **(kwargs or {}))


def llama() -> PreTrainedModel:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=160,
            intermediate_size=300,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )


def neox() -> PreTrainedModel:
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=64,
            hidden_size=160,
            intermediate_size=300,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
        )
    )


def step_peak(base: Any, config: Any, dtype: torch.dtype, gradient_checkpointing: bool) -> int:
    """Bytes that a step of AdamW takes at most, weights and optimizer included."""
    torch.manual_seed(0)
    base.to(dtype)
    model: Any = peft.get_peft_model(base, config).train()
    if gradient_checkpointing:
        base.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    tokens = torch.randint(0, 64, (2, 96))

    def step() -> None:
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with InsideOperators(model, optimizer) as trace:
        step()
    assert (trace.visited > 0) == isinstance(config, QAAConfig)
    return trace.peak


@needs_compiler
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "targets", [["q_proj", "v_proj"], ["q_proj", "k_proj", "v_proj"], "all-linear"], ids=str
)
def test_a_training_step_takes_no_more_than_with_lora(
    targets: Any, dtype: torch.dtype, gradient_checkpointing: bool
) -> None:
    lora = step_peak(llama(), peft.LoraConfig(r=8, target_modules=targets), dtype, gradient_checkpointing)
    for options in ({}, {"depth": 4}, {"share_circuit": True}):
        config = QAAConfig(target_modules=targets, **options)
        # The torch kernel's scratch memory, of a fixed size, would outweigh so small a model.
        with kernel("native"):
            assert step_peak(llama(), config, dtype, gradient_checkpointing) <= lora


@needs_compiler
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("parts", [["q", "v"], ["q", "k", "v"]], ids=str)
def test_nor_do_parts_of_a_fused_projection(
    parts: list[str], dtype: torch.dtype, gradient_checkpointing: bool
) -> None:
    targets = ["query_key_value"]
    lora = step_peak(neox(), peft.LoraConfig(r=8, target_modules=targets), dtype, gradient_checkpointing)
    config = QAAConfig(target_modules=targets, fused_parts={targets[0]: parts})
    with kernel("native"):
        assert step_peak(neox(), config, dtype, gradient_checkpointing) <= lora
