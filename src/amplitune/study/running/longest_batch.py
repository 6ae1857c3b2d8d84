"""The longest batches of a run, with one step on each: of training, of scoring, of generation."""

import contextlib
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import peft
import torch
from torch import Tensor

from amplitune.study.data.tokens import prompt_tokens
from amplitune.study.settings.config import RunSpec


@dataclass(frozen=True)
class LongestBatches:
    """The rows that take the most memory; each batch as large as the run's batches are.

    Args:
        kind: "generation" or "classification".
        train: tokenised training rows.
        scored: tokenised rows of the test split, read in one forward pass without gradients.
        prompts: token ids of the test prompts; empty for classification.
        max_new_tokens: tokens generated for a prompt.
        pad: the padding token.
        perplexity: whether the run scores the answers' perplexity.
    """

    kind: str
    train: list[dict[str, Any]]
    scored: list[dict[str, Any]]
    prompts: list[list[int]]
    max_new_tokens: int
    pad: int
    perplexity: bool


def longest_batches(
    spec: RunSpec,
    splits: Mapping[str, Sequence[dict[str, Any]]],
    pad: int,
) -> LongestBatches:
    """Pick the longest batches of a run.

    Args:
        spec: the run, its task's kind known.
        splits: "train" and "test" (for a trial "validation") as tokenised rows.
        pad: the padding token.
    """
    kind = spec.task.kind
    assert kind is not None, "the task is resolved before its batches are picked"
    evaluated = spec.training.per_device_eval_batch_size

    test = splits["test" if spec.trial is None else "validation"]
    prompts = prompt_tokens(test) if kind == "generation" else []

    def by_length(row: dict[str, Any]) -> int:
        return -len(row["input_ids"])

    return LongestBatches(
        kind,
        sorted(splits["train"], key=by_length)[: spec.training.per_device_train_batch_size],
        sorted(test, key=by_length)[:evaluated],
        sorted(prompts, key=len, reverse=True)[:evaluated],
        spec.task.max_new_tokens,
        pad,
        "perplexity" in spec.task.metric_names(kind),
    )


def training_step(model: Any, batches: LongestBatches, bf16: bool = False) -> None:
    """Forward and backward on the longest training batch, as the trainer does them.

    Args:
        model: in training mode; its gradients are accumulated.
        batches: the rows.
        bf16: under bfloat16 autocast.
    """
    device = next(model.parameters()).device
    inputs = _padded(batches.train, batches.pad, device)
    if batches.kind == "classification":
        inputs["labels"] = torch.tensor([row["labels"] for row in batches.train], device=device)
    else:
        width = inputs["input_ids"].shape[1]
        labels = [
            [
                token if kept else -100
                for token, kept in zip(row["input_ids"], row["completion_mask"], strict=True)
            ]
            for row in batches.train
        ]
        inputs["labels"] = torch.tensor([row + [-100] * (width - len(row)) for row in labels], device=device)
    with _fused_lm_head(model, batches.kind) as options:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = model(**inputs, **options).loss
        loss.backward()


@torch.no_grad()
def scoring_step(model: Any, batches: LongestBatches) -> None:
    """One forward pass on the longest test batch: the logits of a classifier, or of perplexity.

    Args:
        model: in evaluation mode.
        batches: the rows.
    """
    if batches.kind == "generation" and not batches.perplexity:
        return
    inputs = _padded(batches.scored, batches.pad, next(model.parameters()).device)
    logits = model(**inputs).logits
    if batches.kind == "generation":
        answers = sum(sum(row["completion_mask"]) for row in batches.scored)
        rows = torch.arange(answers, device=logits.device)
        selected = logits.flatten(0, 1).index_select(0, rows).float()
        torch.nn.functional.cross_entropy(selected, rows % selected.shape[1], reduction="none")


@torch.no_grad()
def generation_step(model: Any, batches: LongestBatches) -> None:
    """Read the longest prompts into a cache, fill that up, and generate the last token from it.

    Args:
        model: in evaluation mode, a causal language model or a peft model around one.
        batches: the rows.
    """
    if batches.kind != "generation":
        return
    device = next(model.parameters()).device
    rows = [{"input_ids": prompt} for prompt in batches.prompts]
    inputs = _padded(rows, batches.pad, device, left=True)
    options: dict[str, Any] = {"use_cache": True}
    base = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        options["logits_to_keep"] = 1  # as transformers' own generation does
    output = model(**inputs, **options)
    token, cache = output.logits[:, -1:].argmax(-1), output.past_key_values
    del output
    if batches.max_new_tokens < 2 or not hasattr(cache, "layers"):
        return
    length = batches.max_new_tokens - 2
    for index, layer in enumerate(cache.layers):
        if length and isinstance(getattr(layer, "keys", None), Tensor):
            shape = (*layer.keys.shape[:2], length, layer.keys.shape[3])
            cache.update(layer.keys.new_zeros(shape), layer.values.new_zeros(shape), index)
    mask = torch.ones(len(rows), cache.get_seq_length() + 1, dtype=torch.long, device=device)
    if "attention_mask" not in inputs:
        base(input_ids=token, past_key_values=cache, **options)
    else:
        base(input_ids=token, attention_mask=mask, past_key_values=cache, **options)


def _padded(
    rows: Sequence[Mapping[str, Any]], pad: int, device: torch.device, left: bool = False
) -> dict[str, Tensor]:
    """Token ids, with the mask of their padding where there is any: models make no use of a full mask."""
    width = max(len(row["input_ids"]) for row in rows)
    gaps = [width - len(row["input_ids"]) for row in rows]

    def tensor(values: list[list[int]], fill: int) -> Tensor:
        filled = [
            [fill] * gap + value if left else value + [fill] * gap
            for gap, value in zip(gaps, values, strict=True)
        ]
        return torch.tensor(filled, device=device)

    inputs = {"input_ids": tensor([list(row["input_ids"]) for row in rows], pad)}
    if any(gaps):
        inputs["attention_mask"] = tensor([[1] * len(row["input_ids"]) for row in rows], 0)
    return inputs


@contextlib.contextmanager
def _fused_lm_head(model: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Let the model's loss be computed as trl's trainer computes it, without the logits of all positions.

    Returns:
        As the context's value, what the model's forward takes besides.
    """
    trainers: Any = importlib.import_module("trl.trainer.utils") if kind == "generation" else None
    add_fused_lm_head = getattr(trainers, "add_fused_lm_head", None)  # an older trl computes all logits
    if add_fused_lm_head is None:
        yield {}
        return
    base = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    own = base.__dict__.get("forward")
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    try:
        yield {"fused_lm_head": True, "use_cache": False}
    finally:
        if own is None:
            del base.__dict__["forward"]
        else:
            base.forward = own
