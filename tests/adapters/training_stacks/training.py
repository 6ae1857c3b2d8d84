"""A tiny model with each adapter, and the loop that trains it: what one process does and what several do."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from amplitune import ControlConfig, QAAConfig, SoRAConfig, create_sora_optimizer

VOCABULARY = 50
STEPS, ROWS, LENGTH = 4, 4, 7
QKV = ["q_proj", "k_proj", "v_proj"]

#: What moves lambda far enough in few steps that some gates are zero at the end, and not all.
SPARSE: dict[str, Any] = {
    "sparse_lambda": 0.02,
    "lambda_schedule": "linear",
    "lambda_num_steps": STEPS,
    "lambda_end": 0.3,
}
CONFIGS: dict[str, Callable[..., Any]] = {
    "qaa": QAAConfig,
    "qaa-shared": lambda **fields: QAAConfig(**fields | {"target_modules": QKV, "share_circuit": True}),
    # Ranks that two processes cannot split evenly.
    "sora": lambda **fields: SoRAConfig(r=5, **SPARSE, **fields),
    "sora-reference": lambda **fields: SoRAConfig(r=5, threshold_rule="reference", **SPARSE, **fields),
    "sora-lr": lambda **fields: SoRAConfig(r=5, threshold="lr*lambda", sparse_lambda=10.0, **fields),
    "control": lambda **fields: ControlConfig(features="givens", **fields),
}


def build_base(seed: int = 0, vocabulary: int = VOCABULARY) -> Any:
    """A Llama of two layers; the same for the same seed."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=24,
            intermediate_size=20,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            initializer_range=0.2,
        )
    )


def build_config(method: str, **fields: Any) -> Any:
    """A method's config; its adapter is not the identity unless asked for."""
    arguments = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "v_proj"], "init_weights": False}
    return CONFIGS[method](**arguments | fields)


def build_model(method: str, seed: int = 0, vocabulary: int = VOCABULARY, **fields: Any) -> Any:
    """The Llama with an adapter; the same for the same seed."""
    return get_peft_model(build_base(seed, vocabulary), build_config(method, **fields))


def build_optimizer(
    model: nn.Module, method: str, optimizer_cls: Any = torch.optim.AdamW, **fields: Any
) -> Any:
    """SoRA's optimizer for SoRA, a plain one for the others."""
    if method.startswith("sora"):
        return create_sora_optimizer(model, optimizer_cls, lr=0.02, **fields)
    return optimizer_cls([p for p in model.parameters() if p.requires_grad], lr=0.02, **fields)


def batches(count: int = STEPS) -> Tensor:
    """Token ids, (steps, rows, length)."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, VOCABULARY, (count, ROWS, LENGTH), generator=generator)


def train(
    model: nn.Module,
    optimizer: Any,
    data: Tensor,
    rank: int = 0,
    size: int = 1,
    micro_batches: int = 1,
    no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
    backward: Callable[[Tensor], Any] = Tensor.backward,
) -> list[float]:
    """Take a step for each batch; give the loss of this process's rows in each."""
    losses = []
    for batch in data:
        mine = batch.chunk(size)[rank].chunk(micro_batches)
        total = 0.0
        for number, rows in enumerate(mine):
            with nullcontext() if number == micro_batches - 1 else no_sync():
                loss = model(input_ids=rows, labels=rows).loss / micro_batches
                backward(loss)
            total += float(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, by peft's names, copied."""
    return {
        name.removeprefix("module."): parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def sora_step(optimizer: Any) -> int | None:
    """The position of the schedule; None without one."""
    steps = [group["sora_step"] for group in optimizer.param_groups if "sora_step" in group]
    return steps[0] if steps else None
