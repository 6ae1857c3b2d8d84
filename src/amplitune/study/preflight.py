"""What can be checked of a study before weights are loaded: its data, tokens and adapters' targets."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from amplitune.errors import ConfigError, DataError
from amplitune.study.chat import render
from amplitune.study.config import RunSpec, StudyConfig
from amplitune.study.data import answers_cut, prompt_tokens, unknown_tokens
from amplitune.study.generation import check_context, context_length
from amplitune.study.methods import apply_method, find_method
from amplitune.study.models import load_config, load_tokenizer, skeleton
from amplitune.study.tasks import Task, TaskConfig, load_task
from amplitune.study.token_cache import tokenized


def tokenize(
    task: Task, config: TaskConfig, tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[dict[str, Any]]]:
    """Tokenise the splits that training reads, and the test split with them; chat is rendered first.

    Args:
        task: the examples.
        config: the task's configuration.
        tokenizer: the model's.

    Returns:
        "train", "validation" and "test" as rows for the trainer.

    Raises:
        DataError: an answer is cut away entirely by truncation.
    """
    rows = {}
    for split, examples in (("train", task.train), ("validation", task.validation), ("test", task.test)):
        written, turn_end = render(examples, config, tokenizer, split=split)
        rows[split] = tokenized(
            task.kind, written, tokenizer, config.max_length, task=task.name, split=split, turn_end=turn_end
        )
    return rows


def check(study: StudyConfig, say: Callable[[str], object]) -> StudyConfig:
    """Check everything that needs no weights; afterwards each task's kind is known.

    Args:
        study: the study.
        say: takes remarks for the user, one line each.

    Returns:
        The study with each task's `kind` written out.

    Raises:
        ConfigError: a file, column, model, target module or setting is not what it must be.
    """
    tasks = {config.name: load_task(config) for config in study.tasks}
    resolved = study.model_copy(
        update={"tasks": [config.resolved(tasks[config.name].kind) for config in study.tasks]}
    )
    first_runs = {(spec.task.name, spec.method.name): spec for spec in reversed(resolved.runs())}
    for config in resolved.tasks:
        task = tasks[config.name]
        say(f"{task.name}: {task.format_note}")
        specs = [first_runs[config.name, method.name] for method in study.methods]
        tokenizer = load_tokenizer(specs[0])
        rows = tokenize(task, config, tokenizer)
        if task.kind == "generation":
            _, turn_end = render(task.train[:1], config, tokenizer)
            _remark_on_tokens(rows, tokenizer, config, turn_end, say)
        _check_bertscore(study, config)
        for spec in specs:
            _check_fit(spec, task, rows, tokenizer, say)
    return resolved


def _check_fit(
    spec: RunSpec,
    task: Task,
    rows: dict[str, list[dict[str, Any]]],
    tokenizer: PreTrainedTokenizerBase,
    say: Callable[[str], object],
) -> None:
    """Try the method on the model's shapes, and the examples on its context."""
    model: Any = skeleton(spec, load_config(spec, tokenizer, task.labels))
    try:
        model = apply_method(model, find_method(spec.method.method), task.kind, spec.method.config)
    except NotImplementedError:
        say(f"{spec.method.name} starts from the weights, so it is checked only when it runs.")
    context = context_length(model)
    for split, split_rows in rows.items():
        longest = max((len(row["input_ids"]) for row in split_rows), default=0)
        if context is not None and longest > context:
            raise DataError(
                f"`max_length` of task {task.name!r} must keep examples within the {context} tokens that "
                f"{spec.method.name} leaves of the model's context, but is {spec.task.max_length} where an "
                f"example of the {split} split has {longest}.\n"
                f"Set max_length: {context} or less, or use another model."
            )
    if task.kind == "generation":
        check_context(prompt_tokens(rows["test"]), spec.task.max_new_tokens, context, task=task.name)


def _remark_on_tokens(
    rows: dict[str, list[dict[str, Any]]],
    tokenizer: PreTrainedTokenizerBase,
    config: TaskConfig,
    turn_end: str | None,
    say: Callable[[str], object],
) -> None:
    for split, split_rows in rows.items():
        if cut := answers_cut(split_rows, tokenizer, turn_end):
            say(
                f"{config.name}: {cut} of {len(split_rows)} answers of the {split} split lose their end to "
                f"max_length {config.max_length}."
            )
        if unknown := unknown_tokens(split_rows, tokenizer):
            say(
                f"{config.name}: {unknown} tokens of the {split} split are unknown to the vocabulary; "
                "`substitutions` can replace what it lacks."
            )


def _check_bertscore(study: StudyConfig, config: TaskConfig) -> None:
    assert config.kind is not None
    if "bertscore_f1" in config.metric_names(config.kind) and study.bertscore_model is None:
        raise ConfigError(
            f"`bertscore_model` must be set where a task ({config.name}) asks for bertscore_f1, "
            "but is unset. Name an encoder: a hub id or a folder."
        )
