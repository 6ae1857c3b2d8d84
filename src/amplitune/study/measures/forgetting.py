"""Forgetting: the perplexity of text that no task is about, before and after training."""

from collections.abc import Callable, Sequence
from typing import Any

import peft
from torch import nn
from transformers import PreTrainedTokenizerBase

from amplitune.study.data.tokens import TokenRow, ensure_pad_token, tokenize_prompts
from amplitune.study.measures.held_out_text import read_held_out
from amplitune.study.measures.untouched import untouched
from amplitune.study.methods.registry import find_method
from amplitune.study.metrics.perplexity import perplexity
from amplitune.study.running.generation import context_length
from amplitune.study.settings.config import RunSpec

LONGEST_WINDOW = 1024
"""Tokens of a window where a model's context is long or unknown."""

MOST_TOKENS = 16384
"""Tokens that are read at most: the first ones of the text."""

TOKENS_AT_A_TIME = 2048
"""Bounds the logits that a forward pass makes."""


def forgetting(
    model: Any, base_loader: Callable[[], nn.Module], tokenizer: PreTrainedTokenizerBase, spec: RunSpec
) -> dict[str, float | None]:
    """Measure what a run's training cost on text that no task is about.

        perplexity = exp(- sum over windows, t > 1 of log p(x_t | x_<t in the window) / number of such tokens)

    Documents are cut into windows that do not overlap, each within one document; the first token of a window
    is not predicted. A window is half of the model's context, at most 1024 tokens, so that virtual tokens
    find room and all methods read the same. The first 16,384 tokens of the text are read.

    Args:
        model: the trained model.
        base_loader: loads the pretrained model again; not called if switching an adapter off is as good.
        tokenizer: the model's.
        spec: the run: which text, batch size, whether the task is one of generation.

    Returns:
        `held_out_perplexity_before`, of the untouched model, and `held_out_perplexity`; the second is None
        if the adapter's virtual tokens leave too little of the context. Empty where there is nothing to
        measure.

    Raises:
        DataError: the text cannot be read.
    """
    if spec.held_out_text is None or spec.task.kind != "generation":
        return {}
    root = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    length = window_length(context_length(root))
    rows = windows(read_held_out(spec.held_out_text), tokenizer, length)
    pad = ensure_pad_token(tokenizer)
    size = max(1, min(spec.training.per_device_eval_batch_size, TOKENS_AT_A_TIME // length))

    def measure(of: Any) -> float | None:
        return perplexity(of, rows, pad, size).get("perplexity")

    if find_method(spec.method.method).trains == "nothing":
        same = measure(model)
        return {"held_out_perplexity_before": same, "held_out_perplexity": same}
    left = context_length(model)
    after = None if left is not None and left < length else measure(model)
    with untouched(model, base_loader) as base:
        before = measure(base)
    return {"held_out_perplexity_before": before, "held_out_perplexity": after}


def window_length(context: int | None) -> int:
    """Tokens of a window for a model's context; None: not known.

    Example:
        >>> window_length(256), window_length(8192), window_length(None)
        (128, 1024, 1024)
    """
    return LONGEST_WINDOW if context is None else max(2, min(LONGEST_WINDOW, context // 2))


def windows(documents: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int) -> list[TokenRow]:
    """Cut documents into windows, every token of which but the first is scored.

    Args:
        documents: the text.
        tokenizer: the model's; the BOS that it may add stands before a document's first window.
        length: tokens of a window; a document's last window may be shorter.

    Returns:
        Rows for `perplexity`, together at most `MOST_TOKENS` tokens.
    """
    rows: list[TokenRow] = []
    left = MOST_TOKENS
    for document in documents:
        if left < 2:
            break
        (ids,) = tokenize_prompts([document], tokenizer)
        for start in range(0, len(ids), length):
            part = ids[start : min(start + length, start + left)]
            if len(part) >= 2:
                rows.append({"input_ids": part, "completion_mask": [1] * len(part)})
                left -= len(part)
    return rows
