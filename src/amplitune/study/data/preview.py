"""Training examples as the model sees them: decoded tokens, with what the loss is on."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from amplitune.study.data.chat import render
from amplitune.study.data.tasks import Example, Task, TaskConfig, TaskKind, load_task
from amplitune.study.data.tokens import answers_cut
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.models import load_tokenizer
from amplitune.study.settings.config import RunSpec, StudyConfig

TRAINED = ("[[", "]]")
"""Marks of the tokens that the loss is on, where text has no colour."""


@dataclass(frozen=True)
class Shown:
    """One training example.

    Args:
        row: row of the source it came from, counted from 0.
        read: decoded tokens that are read only, special tokens written out.
        trained: decoded tokens that the loss is on; empty for classification.
        read_tokens: number of tokens of `read`.
        trained_tokens: number of tokens of `trained`.
        cut: whether `max_length` took the end of the answer, or of the text.
        label: the class's name; None for generation.
    """

    row: int
    read: str
    trained: str
    read_tokens: int
    trained_tokens: int
    cut: bool
    label: str | None = None


@dataclass(frozen=True)
class SplitSize:
    """How large a split is.

    Args:
        examples: how many examples it has.
        longest: most tokens of one of them.
        tokens: tokens of all of them.
        cut: how many lose their end to `max_length`.
    """

    examples: int
    longest: int
    tokens: int
    cut: int


@dataclass(frozen=True)
class TaskPreview:
    """What a task's data becomes.

    Args:
        task: the task's name.
        kind: "generation" or "classification".
        note: what was recognised in the source.
        max_length: most tokens of an example.
        splits: "train", "validation" and "test" with their sizes.
        examples: training examples, the first ones.
    """

    task: str
    kind: TaskKind
    note: str
    max_length: int
    splits: Mapping[str, SplitSize]
    examples: Sequence[Shown]


def preview(study: StudyConfig, count: int = 1, *, styled: bool = False) -> str:
    """Show the first training examples of each task with their loss mask.

    Args:
        study: the study; only its data and tokenizers are read.
        count: how many examples of each task.
        styled: colours for a terminal; otherwise the trained tokens stand in double brackets.

    Returns:
        Text for the user.

    Raises:
        ConfigError: a task's data or model cannot be read.
    """
    first: dict[str, RunSpec] = {}
    for spec in study.runs():
        first.setdefault(spec.task.name, spec)
    return "\n".join(
        preview_text(
            preview_task(load_task(spec.task), spec.task, load_tokenizer(spec), count), styled=styled
        )
        for spec in first.values()
    )


def preview_task(
    task: Task, config: TaskConfig, tokenizer: PreTrainedTokenizerBase, count: int = 1
) -> TaskPreview:
    """Decode what a task's training data becomes, and count how often its end is cut.

    Args:
        task: the examples.
        config: the task's configuration.
        tokenizer: the model's.
        count: how many training examples to decode.

    Returns:
        The sizes of the splits and the examples.

    Raises:
        DataError: an example does not fit into `max_length`.
    """
    rows = tokenize(task, config, tokenizer)
    _, turn_end = render(task.train[:1], config, tokenizer)
    examples = {"train": task.train, "validation": task.validation, "test": task.test}
    splits = {
        split: SplitSize(
            len(own),
            max((len(row["input_ids"]) for row in own), default=0),
            sum(len(row["input_ids"]) for row in own),
            sum(
                _is_cut(task, example, row, tokenizer, turn_end)
                for example, row in _pairs(examples[split], own)
            ),
        )
        for split, own in rows.items()
    }
    shown = [
        _shown(task, example, row, tokenizer, _is_cut(task, example, row, tokenizer, turn_end))
        for example, row in _pairs(task.train, rows["train"])[:count]
    ]
    return TaskPreview(task.name, task.kind, task.format_note, config.max_length, splits, shown)


def preview_text(shown: TaskPreview, *, styled: bool = False) -> str:
    """Write a preview for the user.

    Args:
        shown: what `preview_task` returned.
        styled: as in `preview`.

    Returns:
        Lines, each ended.
    """
    text = Text()
    text.append(f"{shown.task}", "bold")
    text.append(f": {shown.kind}; {shown.note}\n")
    what = "answers" if shown.kind == "generation" else "texts"
    for name, split in shown.splits.items():
        cut = f"{split.cut} {what} cut at max_length {shown.max_length}" if split.cut else f"no {what} cut"
        size = f"{split.examples} examples, {split.tokens} tokens, the longest {split.longest}"
        text.append(f"  {name}: {size}; {cut}\n")
    for number, example in enumerate(shown.examples, start=1):
        text.append(f"\n  training example {number} (row {example.row}): ", "bold")
        text.append(", ".join(_counts(example)) + "\n")
        text.append_text(_marked(example, styled))
        text.append("\n")
    if not styled:
        return text.plain
    # A line of data may be long: the terminal folds it, not rich.
    out = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=10**6)
    with out.capture() as captured:
        out.print(text, end="", soft_wrap=True)
    return captured.get()


def _pairs(
    examples: Sequence[Example], rows: Sequence[dict[str, Any]]
) -> list[tuple[Example, dict[str, Any]]]:
    return list(zip(examples, rows, strict=True))


def _is_cut(
    task: Task, example: Example, row: Any, tokenizer: PreTrainedTokenizerBase, turn_end: str | None
) -> bool:
    if task.kind == "generation":
        return bool(answers_cut([row], tokenizer, turn_end))
    whole = tokenizer(example.prompt, verbose=False)["input_ids"]
    return len(whole) > len(row["input_ids"])


def _shown(task: Task, example: Example, row: Any, tokenizer: PreTrainedTokenizerBase, cut: bool) -> Shown:
    ids, mask = row["input_ids"], row.get("completion_mask")
    border = mask.index(1) if mask else len(ids)
    whole, read = _decoded(ids, tokenizer), _decoded(ids[:border], tokenizer)
    # Where a vocabulary drops the space before a text, the answer alone would lose its own.
    trained = whole[len(read) :] if whole.startswith(read) else _decoded(ids[border:], tokenizer)
    label = None if example.label is None or task.labels is None else task.labels[example.label]
    return Shown(example.index, read, trained, border, len(ids) - border, cut, label)


def _decoded(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _counts(example: Shown) -> list[str]:
    total = example.read_tokens + example.trained_tokens
    if example.label is not None:
        return [f"{total} tokens", f"label {example.label!r}", *(["cut"] if example.cut else [])]
    cut = ["the answer's end is cut"] if example.cut else []
    return [f"{total} tokens", f"{example.read_tokens} read", f"{example.trained_tokens} trained", *cut]


def _marked(example: Shown, styled: bool) -> Text:
    read, trained = _printable(example.read), _printable(example.trained)
    if styled:
        text = Text().append(read, "dim").append(trained, "bold green")
    else:
        text = Text(read + (f"{TRAINED[0]}{trained}{TRAINED[1]}" if trained else ""))
    lines = text.split("\n", allow_blank=True)
    return Text("\n").join(Text("    ") + line for line in lines)


def _printable(text: str) -> str:
    """Control characters written out, so that data cannot move a terminal's cursor."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
