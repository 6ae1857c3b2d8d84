"""One thing that an adapter should be able to do, and the tiny models it is tried on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from amplitune import QAAConfig, SoRAConfig, create_sora_optimizer

CONFIGS: dict[str, type[Any]] = {"LoRA": LoraConfig, "QAA": QAAConfig, "SoRA": SoRAConfig}
"""The columns: peft's own LoRA, and ours."""

TRAINING = "Training"
"""The group of rows that several modules hold."""

TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


class UntriedError(Exception):
    """A cell cannot be tried on this machine; the message says what is missing."""


class UnsupportedError(Exception):
    """A method cannot do it and there is nothing to call that would say so; the message is the reason."""


@dataclass(frozen=True)
class Trial:
    """A row: what is tried, and how; `run` raises where the method cannot do it."""

    group: str
    name: str
    run: Callable[[str], None]


def config(method: str, **fields: Any) -> Any:
    """Make a method's config; its adapter changes the output from the start unless asked otherwise."""
    fresh = {"init_lora_weights" if method == "LoRA" else "init_weights": False}
    return CONFIGS[method](**{"target_modules": ["q_proj", "v_proj"]} | fresh | fields)


def llama(**fields: Any) -> Any:
    """Build a tiny Llama, always the same."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 32,
        "hidden_size": 32,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return LlamaForCausalLM(LlamaConfig(**sizes | fields)).eval()


def gpt2() -> Any:
    """Build a tiny GPT-2, always the same."""
    torch.manual_seed(0)
    settings = GPT2Config(
        vocab_size=32, n_embd=24, n_layer=2, n_head=2, n_positions=32, bos_token_id=None, eos_token_id=None
    )
    return GPT2LMHeadModel(settings).eval()


def wrapped(method: str, seed: int = 1, base: Any = None, **fields: Any) -> Any:
    """Wrap the tiny Llama, or another model; the adapter depends on the seed."""
    base = llama() if base is None else base
    torch.manual_seed(seed)
    return get_peft_model(base, config(method, task_type="CAUSAL_LM", **fields)).eval()


def optimizer_for(
    method: str, model: nn.Module, optimizer_cls: type[torch.optim.Optimizer] = torch.optim.SGD
) -> torch.optim.Optimizer:
    """Make the optimizer of a method: SoRA's with its proximal step, a plain one for the others."""
    lr = 0.1 if optimizer_cls is torch.optim.SGD else 0.02
    if method == "SoRA":
        return create_sora_optimizer(model, optimizer_cls, lr=lr, sparse_lambda=0.02)
    return optimizer_cls([p for p in model.parameters() if p.requires_grad], lr=lr)  # type: ignore[call-arg]


@torch.no_grad()
def logits(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    """Run a model on the trial's tokens."""
    found: Tensor = model(input_ids=tokens).logits
    return found


def same(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Raise AssertionError unless two outputs agree."""
    torch.testing.assert_close(actual.float(), expected.float(), atol=tolerance, rtol=tolerance)


def different(actual: Tensor, expected: Tensor) -> None:
    """Raise AssertionError if two outputs agree."""
    assert not torch.allclose(actual.float(), expected.float(), atol=1e-5, rtol=1e-5), "nothing has changed"


def trained(model: Any, steps: int = 2, batch: dict[str, Tensor] | None = None) -> list[float]:
    """Take optimizer steps; every trainable parameter must have had a gradient.

    Returns:
        The loss before each step.
    """
    inputs = {"input_ids": TOKENS, "labels": TOKENS} if batch is None else batch
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(**inputs).loss
        loss.backward()
        losses.append(float(loss.detach()))
        missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, f"no gradient for {missing[:2]}"
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    assert all(loss == loss for loss in losses), f"loss {losses}"
    assert losses[-1] < losses[0], f"training did not lower the loss: {losses}"
    return losses
