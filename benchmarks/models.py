"""Peak memory and speed of training whole models of given shapes, with random weights, by each method."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import peft
import torch
from benchmarks.adapted import RANK
from benchmarks.ratios import digits, ratio
from benchmarks.timing import clock_of
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from amplitune import QAAConfig, SoRAConfig
from amplitune.study.running.memory import read_peak, reset_peak

HEADER = ("model", "method", "trainable", "peak / LoRA's", "(peak - weights) / LoRA's", "tokens/s / LoRA's")

#: Shapes as the models' own configurations give them, without weights.
SHAPES: dict[str, dict[str, Any]] = {
    "Llama-3.2-1B": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "Llama-3.1-8B": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": False,
    },
}

TARGETS = ["q_proj", "v_proj"]

#: Configs by method; None trains every weight. LoRA comes first: the others are compared with it.
METHODS: dict[str, Any] = {
    "LoRA r=8": lambda: peft.LoraConfig(r=RANK, target_modules=TARGETS, task_type="CAUSAL_LM"),
    "QAA": lambda: QAAConfig(target_modules=TARGETS, task_type="CAUSAL_LM"),
    "SoRA r=8": lambda: SoRAConfig(r=RANK, target_modules=TARGETS, task_type="CAUSAL_LM"),
    "prefix 20": lambda: peft.PrefixTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM"),
    "full": None,
}


def build(shape: dict[str, Any], dtype: torch.dtype, device: str) -> nn.Module:
    """Make a model with random weights on the device, without a copy elsewhere.

    Args:
        shape: fields of LlamaConfig.
        dtype: of the weights.
        device: "cpu" or "cuda".

    Returns:
        The model, in training mode.
    """
    config = LlamaConfig(**shape, max_position_embeddings=8192, use_cache=False)
    with torch.device(device):
        model: nn.Module = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.train()


@contextmanager
def adapted(base: nn.Module, method: str) -> Iterator[nn.Module]:
    """Put a method's adapter on a model inside a with-block, and take it off after.

    Args:
        base: the model.
        method: key of METHODS.

    Yields:
        The model to train.
    """
    make = METHODS[method]
    if make is None:
        base.requires_grad_(True)
        yield base
        base.zero_grad(set_to_none=True)
        return
    wrapped: PeftModel = peft.get_peft_model(base, make())
    yield wrapped
    if not wrapped.active_peft_config.is_prompt_learning:
        wrapped.unload()


class Step:
    """One training step: forward, backward, AdamW on what is trainable."""

    def __init__(self, model: nn.Module, ids: Tensor) -> None:
        """Make the optimizer."""
        self.model, self.ids = model, ids
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.trainable = sum(parameter.numel() for parameter in trainable)
        # Fused where it can be: the other implementation holds a copy of all that is trainable meanwhile.
        self.optimizer = torch.optim.AdamW(trainable, lr=1e-6, fused=ids.device.type == "cuda")

    def __call__(self) -> None:
        """Take the step."""
        self.model(input_ids=self.ids, labels=self.ids).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def too_large(base: nn.Module, device: str, free: int | None = None) -> str | None:
    """Tell why full fine-tuning does not fit, if it does not.

    Gradients and AdamW's two moments are as large as the weights each; activations get a tenth of the room.

    Args:
        base: the model, on the device already.
        device: "cpu" or "cuda".
        free: bytes that are free; by default what the CUDA device says.

    Returns:
        The reason, or None.
    """
    if device == "cpu" and free is None:
        return None
    weights = sum(parameter.numel() * parameter.element_size() for parameter in base.parameters())
    free = torch.cuda.mem_get_info()[0] if free is None else free
    needed = int(3 * weights + 0.1 * free)
    if needed <= free:
        return None
    return f"needs {needed / 1e9:.0f} GB beside the weights, and {free / 1e9:.0f} GB are free"


def measure(
    name: str,
    *,
    shape: dict[str, Any] | None = None,
    methods: Sequence[str] = tuple(METHODS),
    batch: int = 4,
    length: int = 512,
    rounds: int = 3,
    steps: int = 4,
    dtype: torch.dtype = torch.bfloat16,
    device: str = "cuda",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Train a model by each method for some steps, in rounds that visit every method.

    Args:
        name: key of SHAPES, or the name of `shape`.
        shape: fields of LlamaConfig; by default those of `name`.
        methods: keys of METHODS, the first to compare with.
        batch: sequences in a step.
        length: tokens in a sequence.
        rounds: rounds; one method at a time is on the model, so each round puts it on and takes it off.
        steps: steps that are timed in a round, as one measurement.
        dtype: of the base model; adapters stay float32.
        device: "cpu" or "cuda".
        seed: of weights and tokens.

    Returns:
        A row for each method.
    """
    torch.manual_seed(seed)
    base = build(SHAPES[name] if shape is None else shape, dtype, device)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in base.parameters())
    ids = torch.randint(base.config.vocab_size, (batch, length), device=device)  # type: ignore[union-attr, arg-type]
    clock = clock_of(device)
    rows: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for method in methods:
            if "skipped" in rows.get(method, {}):
                continue
            row = {
                "model": name,
                "method": method,
                "batch": batch,
                "length": length,
                "weights_bytes": weights,
            }
            reason = too_large(base, device) if METHODS[method] is None else None
            if reason is not None:
                rows[method] = row | {"skipped": reason}
                continue
            _release(device)
            with adapted(base, method) as model:
                step = Step(model, ids)
                # The optimizer makes its moments in the first step.
                clock(step, 2)
                reset_peak()
                seconds.setdefault(method, []).append(clock(step, steps))
                peak, kind = read_peak()
                before = rows.get(method, {}).get("peak_bytes", 0)
                rows[method] = row | {
                    "trainable": step.trainable,
                    "peak_bytes": max(peak, before),
                    "peak_kind": kind,
                }
                del step, model
            _release(device)
    return [_compared(row, rows[methods[0]], seconds) for row in rows.values()]


def _compared(row: dict[str, Any], first: dict[str, Any], seconds: dict[str, list[float]]) -> dict[str, Any]:
    if "skipped" in row:
        return row
    own, other = seconds[row["method"]], seconds[first["method"]]
    weights = row["weights_bytes"]
    return row | {
        "tokens_per_second": row["batch"] * row["length"] / sorted(own)[len(own) // 2],
        "ratios": {"tokens_per_second_over_lora": ratio(other, own)},
        "peak_over_lora": row["peak_bytes"] / first["peak_bytes"],
        "peak_above_weights_over_lora": (row["peak_bytes"] - weights) / (first["peak_bytes"] - weights),
        "seconds": own,
    }


def _release(device: str) -> None:
    """Give back what the method before left."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def line(row: dict[str, Any]) -> list[object]:
    """Lay out a row of `measure` under HEADER."""
    if "skipped" in row:
        return [row["model"], row["method"], "", "", "", f"not run: {row['skipped']}"]
    peaks = [digits(row[key]) for key in ("peak_over_lora", "peak_above_weights_over_lora")]
    speed = row["ratios"]["tokens_per_second_over_lora"]
    return [row["model"], row["method"], row["trainable"], *peaks, speed]
