"""Tokenised examples with the mask that confines the loss to the answer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.examples import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenRow = dict[str, list[int]]
LabelledRow = dict[str, list[int] | int]

# Names that vocabularies give to a token made for padding, without declaring it as such.
PAD_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|padding|>", "<|endoftext|>")


def ensure_pad_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Give a tokenizer a padding token, one that is not EOS where its vocabulary has a spare one.

    In order: its own padding token, a token named like one, the unknown token, another special token. The
    vocabulary is never extended, so no embedding is resized. Where EOS is all there is (GPT-2), EOS pads: the
    masks made here come from lengths, never from the padding token, so EOS is trained all the same.

    Args:
        tokenizer: changed in place.

    Returns:
        The id of the padding token.

    Raises:
        ConfigError: the tokenizer has neither a padding token nor an EOS token.
    """
    # An encoder's tokenizer may have no EOS; it needs none for classification.
    eos = tokenizer.eos_token_id
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != eos:
        return int(tokenizer.pad_token_id)
    vocabulary = tokenizer.get_vocab()
    candidates = [*PAD_NAMES, tokenizer.unk_token, *tokenizer.all_special_tokens, tokenizer.eos_token]
    spare = [name for name in candidates if name in vocabulary and vocabulary[name] != eos]
    if not spare:
        _eos(tokenizer)
    tokenizer.pad_token = spare[0] if spare else tokenizer.eos_token
    return int(tokenizer.pad_token_id)


def tokenize_prompts(
    prompts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", *, chat: bool = False
) -> list[list[int]]:
    """Tokenise prompts as training and generation both see them.

    The tokenizer's own BOS is kept, an EOS that it may add is not. A space at a prompt's end is left to the
    answer, whose first word carries it in most vocabularies.

    Args:
        prompts: finished prompts.
        tokenizer: the model's.
        chat: a chat template wrote them, with the special tokens that they have; none is added.

    Returns:
        Token ids, one list a prompt.
    """
    if not prompts:
        return []
    if chat:
        return _plain(prompts, tokenizer)
    eos = tokenizer.eos_token_id
    rows = tokenizer([prompt.rstrip(" ") for prompt in prompts], verbose=False)["input_ids"]
    return [list(ids[:-1]) if ids and ids[-1] == eos else list(ids) for ids in rows]


def tokenize_generation(
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    *,
    task: str = "",
    split: str = "train",
    turn_end: str | None = None,
) -> list[TokenRow]:
    """Tokenise prompts with their answers, EOS (or the end of a turn) appended to the answer and trained.

    Prompt and answer are tokenised apart and joined, so no token spans the border and a prompt has the same
    ids here as in generation; of chat, together where that gives the same prompt. What exceeds `max_length`
    is cut from the right, as trl does: the prompt stays whole, an answer may lose its end (and its EOS: an
    answer that was cut must not teach the model to stop).

    Args:
        examples: generation examples.
        tokenizer: the model's.
        max_length: most tokens of prompt, answer and EOS together.
        task: the task's name, for the message.
        split: the split's name, for the message.
        turn_end: what follows each answer of chat, from `chat.render`; None for other prompts, whose answers
            end with EOS.

    Returns:
        One row an example: `input_ids` and `completion_mask` (1 on the answer and its end), equally long.

    Raises:
        DataError: no token of an answer is left.
        ConfigError: the tokenizer has no EOS token.
    """
    chat = turn_end is not None
    prompts = tokenize_prompts([example.prompt for example in examples], tokenizer, chat=chat)
    if turn_end is None:
        eos = _eos(tokenizer)
        answers = [[*answer, eos] for answer in _tokenize_answers(examples, tokenizer)]
    else:
        answers = _tokenize_turns(examples, prompts, tokenizer, turn_end)
    rows = []
    for example, prompt, answer in zip(examples, prompts, answers, strict=True):
        if len(prompt) >= max_length:
            raise DataError(
                f"`max_length` of task {task!r} must leave room for the answer, but is {max_length} where "
                f"example {example.index} of the {split} split has a prompt of {len(prompt)} tokens and an "
                f"answer of {len(answer) - 1}.\n"
                f"Raise max_length to {len(prompt) + len(answer)}, or take that example out."
            )
        ids = [*prompt, *answer][:max_length]
        rows.append({"input_ids": ids, "completion_mask": [0] * len(prompt) + [1] * (len(ids) - len(prompt))})
    return rows


def stop_tokens(tokenizer: "PreTrainedTokenizerBase", turn_end: str | None) -> set[int]:
    """The tokens that end an answer.

    Args:
        tokenizer: the model's.
        turn_end: what ends each answer of chat, from `chat.render`; None for other prompts.
    """
    own = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    return own if turn_end is None else own | {_plain([turn_end], tokenizer)[0][-1]}


def answers_cut(
    rows: Sequence[TokenRow], tokenizer: "PreTrainedTokenizerBase", turn_end: str | None = None
) -> int:
    """Count the rows whose answer lost its end to `max_length`.

    Args:
        rows: what `tokenize_generation` returned.
        tokenizer: the one they were made with.
        turn_end: as they were made with.
    """
    stops = stop_tokens(tokenizer, turn_end)
    return sum(row["input_ids"][-1] not in stops for row in rows)


def prompt_tokens(rows: Sequence[TokenRow]) -> list[list[int]]:
    """The prompts of tokenised rows: what generation continues.

    Args:
        rows: what `tokenize_generation` returned.
    """
    return [row["input_ids"][: row["completion_mask"].index(1)] for row in rows]


def unknown_tokens(rows: Sequence[TokenRow], tokenizer: "PreTrainedTokenizerBase") -> int:
    """Count the tokens that the vocabulary lacks; `substitutions` can replace their characters in prompts.

    Args:
        rows: tokenised rows.
        tokenizer: the one they were made with.
    """
    unknown = tokenizer.unk_token_id
    # GPT-2 declares its EOS as the unknown token, and can spell every text.
    if unknown is None or unknown == tokenizer.eos_token_id:
        return 0
    return sum(row["input_ids"].count(unknown) for row in rows)


def tokenize_classification(
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    *,
    task: str = "",
    split: str = "train",
) -> list[LabelledRow]:
    """Tokenise texts, cut from the right at `max_length`, with their labels.

    Args:
        examples: classification examples.
        tokenizer: the model's.
        max_length: most tokens of a text, special tokens included.
        task: the task's name, for the message.
        split: the split's name, for the message.

    Returns:
        One row an example: `input_ids`, `attention_mask` (equally long) and `labels` (one number).

    Raises:
        DataError: a text has no token.
    """
    if not examples:
        return []
    encoded = tokenizer([example.prompt for example in examples], truncation=True, max_length=max_length)
    rows: list[LabelledRow] = []
    for example, ids, mask in zip(examples, encoded["input_ids"], encoded["attention_mask"], strict=True):
        if example.label is None:
            raise ConfigError(
                f"Example {example.index} of task {task!r} must have a label, but has none.\n"
                "Tokenise it as generation."
            )
        if not ids:
            raise DataError(
                f"Each text of task {task!r} must have at least one token, but example {example.index} of "
                f"the {split} split has none: {example.prompt[:40]!r}.\n"
                "Take it out of the data."
            )
        rows.append({"input_ids": list(ids), "attention_mask": list(mask), "labels": example.label})
    return rows


def _tokenize_answers(examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
    if not examples:
        return []
    marks_start = _marks_start_of_text(tokenizer)
    texts = [
        # SentencePiece vocabularies put that space before any text by themselves.
        f" {example.completion}" if example.prompt.endswith(" ") and not marks_start else example.completion
        for example in examples
    ]
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]


def _tokenize_turns(
    examples: Sequence[Example],
    prompts: Sequence[list[int]],
    tokenizer: "PreTrainedTokenizerBase",
    turn_end: str,
) -> list[list[int]]:
    if not examples:
        return []
    together = _plain([f"{e.prompt}{e.completion}{turn_end}" for e in examples], tokenizer)
    apart = _plain([f"{e.completion}{turn_end}" for e in examples], tokenizer)
    # A vocabulary may give the border other tokens than the prompt has alone; generation has it alone.
    return [
        whole[len(prompt) :] if whole[: len(prompt)] == prompt else answer
        for whole, prompt, answer in zip(together, prompts, apart, strict=True)
    ]


def _plain(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return [list(ids) for ids in encoded]


def _marks_start_of_text(tokenizer: "PreTrainedTokenizerBase") -> bool:
    ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    return bool(ids) and str(tokenizer.convert_ids_to_tokens(ids)[0]).startswith(("▁", "Ġ"))


def _eos(tokenizer: "PreTrainedTokenizerBase") -> int:
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"The tokenizer {tokenizer.name_or_path!r} must have an EOS token, so that a model can learn to "
            "stop, but has none.\n"
            "Set eos_token in its tokenizer_config.json, or take another model."
        )
    return int(tokenizer.eos_token_id)
