"""Greedy generation for a list of prompts, batched with left padding."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amplitune.errors import DataError
from amplitune.study.data.tokens import ensure_pad_token, stop_tokens, tokenize_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Generation:
    """Generated texts in the order of their prompts.

    Args:
        texts: one a prompt, without special tokens and surrounding space; may be empty.
        tokens: how many tokens were generated altogether, each EOS included.
        seconds: wall-clock time of all batches.
    """

    texts: list[str]
    tokens: int
    seconds: float


def generate(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 16,
    task: str = "",
    turn_end: str | None = None,
) -> Generation:
    """Continue each prompt with the most probable token until EOS.

    Prompts of alike length share a batch. Sampling, penalties and beams that a model's own settings ask for
    are off, so that every method is decoded alike; its stop tokens hold beside the tokenizer's EOS.

    Args:
        model: a causal language model, or a peft model around one; its mode (training or evaluation) is kept.
        tokenizer: the model's.
        prompts: finished prompts, as `Example.prompt` holds them.
        max_new_tokens: most tokens generated for a prompt.
        batch_size: most prompts in a batch.
        task: the task's name, for the message.
        turn_end: what ends each answer of chat, from `chat.render`: it stops generation and is left out of
            the text. None for prompts that no chat template wrote.

    Returns:
        Texts, the number of tokens, and the time they took.

    Raises:
        DataError: a prompt is empty, or does not fit into the model's context together with `max_new_tokens`.
    """
    import torch

    pad = ensure_pad_token(tokenizer)
    rows = tokenize_prompts(prompts, tokenizer, chat=turn_end is not None)
    check_context(rows, max_new_tokens, context_length(model), task=task)
    device = next(model.parameters()).device
    settings = _greedy(model, stop_tokens(tokenizer, turn_end), max_new_tokens, pad)
    generated: list[list[int]] = [[] for _ in rows]
    was_training = model.training
    model.eval()
    _synchronize(device)
    start = time.perf_counter()
    try:
        for batch in _batches([len(row) for row in rows], batch_size, padded=_takes_left_padding(model)):
            width = max(len(rows[i]) for i in batch)
            ids = torch.tensor([[pad] * (width - len(rows[i])) + rows[i] for i in batch], device=device)
            mask = torch.tensor(
                [[0] * (width - len(rows[i])) + [1] * len(rows[i]) for i in batch], device=device
            )
            with torch.no_grad():
                output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
            for i, continuation in zip(batch, output[:, width:].tolist(), strict=True):
                generated[i] = _until_stop(continuation, settings.eos_token_id)
        _synchronize(device)
        seconds = time.perf_counter() - start
    finally:
        model.train(was_training)
    end = _visible(turn_end, tokenizer)
    texts = [
        str(tokenizer.decode(ids, skip_special_tokens=True)).strip().removesuffix(end).strip()
        for ids in generated
    ]
    return Generation(texts, sum(len(ids) for ids in generated), seconds)


def context_length(model: Any) -> int | None:
    """The tokens a model can read, those of its prompt and of what it generates together.

    Args:
        model: a model or peft model; virtual tokens of the adapter are taken off.

    Returns:
        The number, or None where the model's config names none.
    """
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = getattr(config, "max_position_embeddings", None)
    adapter = _prompt_learning(model)
    virtual = adapter.num_virtual_tokens if adapter is not None else 0
    return None if length is None else int(length) - int(virtual or 0)


def check_context(
    rows: Sequence[Sequence[int]], max_new_tokens: int, context: int | None, *, task: str = ""
) -> None:
    """Refuse prompts that leave no room for an answer in the model's context.

    Args:
        rows: tokenised prompts of the test split.
        max_new_tokens: most tokens generated for a prompt.
        context: what `context_length` says; None checks nothing but empty prompts.
        task: the task's name, for the message.

    Raises:
        DataError: a prompt has no tokens, or too many.

    Example:
        >>> check_context([[5, 6, 7]], max_new_tokens=4, context=7)
        >>> check_context([[5, 6, 7]], max_new_tokens=5, context=7, task="t")
        Traceback (most recent call last):
        ...
        amplitune.errors.DataError: `max_new_tokens` of task 't' must fit into the model's ...
    """
    for position, row in enumerate(rows):
        if not row:
            raise DataError(
                f"Each prompt of task {task!r} must have at least one token, but prompt {position} (counted "
                "from 0) has none.\n"
                "Set a prompt_template with words of its own, or take that row out."
            )
        if context is not None and len(row) >= context:
            raise DataError(
                f"Each prompt of task {task!r} must be shorter than the model's context of {context} tokens, "
                f"but prompt {position} (counted from 0) has {len(row)}.\n"
                "Take that row out, or use a model with a longer context."
            )
        if context is not None and len(row) + max_new_tokens > context:
            raise DataError(
                f"`max_new_tokens` of task {task!r} must fit into the model's context of {context} tokens "
                f"beside each prompt, but is {max_new_tokens} where prompt {position} (counted from 0) has "
                f"{len(row)}.\n"
                f"Set max_new_tokens: {context - len(row)} or less, take that row out, or use another model."
            )


def _visible(turn_end: str | None, tokenizer: "PreTrainedTokenizerBase") -> str:
    """What remains of a turn's end in decoded text: tokens that the vocabulary does not declare special."""
    if turn_end is None:
        return ""
    ids = tokenizer(turn_end, add_special_tokens=False)["input_ids"]
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()


def _greedy(model: Any, ends: set[int], max_new_tokens: int, pad: int) -> Any:
    from transformers import GenerationConfig

    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    stops = {*ends, *(own if isinstance(own, list) else [own])} - {None}
    # transformers fills what is unset from the model's own settings: name all that would change greedy text.
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        min_new_tokens=0,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
        eos_token_id=sorted(stops),
        use_cache=True,
    )


def _batches(lengths: Sequence[int], size: int, *, padded: bool) -> Iterator[list[int]]:
    """Positions by falling length, the largest batch first; without padding only equal lengths meet."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) == size or (not padded and lengths[i] != lengths[batch[0]])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _prompt_learning(model: Any) -> Any:
    """The active adapter's config if it works by virtual tokens."""
    configs = getattr(model, "peft_config", None)
    active = getattr(model, "active_adapter", None)
    config = configs.get(active) if isinstance(configs, dict) and isinstance(active, str) else None
    return config if config is not None and config.is_prompt_learning else None


def _takes_left_padding(model: Any) -> bool:
    # peft 0.21 puts the virtual tokens of prompt tuning before the padding and ignores position ids: a padded
    # prompt then gets other text than the prompt alone. Prefix tuning is not concerned.
    config = _prompt_learning(model)
    return config is None or str(getattr(config.peft_type, "value", config.peft_type)) == "PREFIX_TUNING"


def _until_stop(ids: list[int], stops: list[int]) -> list[int]:
    end = next((position for position, token in enumerate(ids) if token in stops), len(ids) - 1)
    return ids[: end + 1]


def _synchronize(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
