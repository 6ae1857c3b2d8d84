"""What can be checked of a study before weights are loaded: its data, tokens and adapters' targets."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from amplitune.adapters import ParameterCount, count_parameters
from amplitune.errors import ConfigError, DataError
from amplitune.study.data.chat import render
from amplitune.study.data.tasks import Task, TaskConfig, load_task
from amplitune.study.data.token_cache import tokenized
from amplitune.study.data.tokens import answers_cut, prompt_tokens, unknown_tokens
from amplitune.study.measures.held_out_text import check_held_out
from amplitune.study.methods.controls import controls_left_out
from amplitune.study.methods.matched import matched_methods
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.running.distributed.shardable import check_shardable
from amplitune.study.running.generation import check_context, context_length
from amplitune.study.running.models import load_config, load_tokenizer, skeleton
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.tuning.extremes import check_extremes


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


@dataclass(frozen=True)
class CheckedTask:
    """A task of a study that has been read and tokenised, with the first run of each method on it.

    Args:
        config: its configuration, the kind written out.
        task: the examples.
        tokenizer: the model's.
        rows: the splits, tokenised.
        runs: the first run of each method.
        parameters: method's name -> its parameters; left out where they are known only with weights.
    """

    config: TaskConfig
    task: Task
    tokenizer: PreTrainedTokenizerBase
    rows: dict[str, list[dict[str, Any]]]
    runs: list[RunSpec]
    parameters: dict[str, ParameterCount]


def check(study: StudyConfig, say: Callable[[str], object]) -> StudyConfig:
    """Check everything that needs no weights; afterwards each task's kind is known.

    Args:
        study: the study.
        say: takes remarks for the user, one line each.

    Returns:
        The study with each task's `kind` written out, and the matched variants of its methods.

    Raises:
        ConfigError: files, columns, models, target modules or settings are not what they must be. All that
            are found are named.
    """
    return check_tasks(study, say)[0]


def check_tasks(study: StudyConfig, say: Callable[[str], object]) -> tuple[StudyConfig, list[CheckedTask]]:
    """Check everything that needs no weights, and hand on what was read for it.

    Args:
        study: the study.
        say: takes remarks for the user, one line each.

    Returns:
        The study with each task's `kind` written out and the matched variants of its methods, and its tasks.

    Raises:
        ConfigError: as `check`.
    """
    problems: list[ConfigError] = []
    for left_out in controls_left_out(study.methods) if study.controls else ():
        say(left_out)
    tasks: dict[str, Task] = {}
    for config in study.tasks:
        with _gathered(problems):
            tasks[config.name] = load_task(config)
    if not problems:
        with _gathered(problems):
            study = study.model_copy(update={"methods": matched_methods(study, tasks, say)})
    read = [config.resolved(tasks[config.name].kind) for config in study.tasks if config.name in tasks]
    checked = []
    if read:
        resolved = study.model_copy(update={"tasks": read})
        with _gathered(problems):
            check_held_out(resolved)
        first_runs = {(spec.task.name, spec.method.name): spec for spec in reversed(resolved.runs())}
        for config in read:
            runs = [first_runs[config.name, method.name] for method in resolved.methods]
            with _gathered(problems):
                checked.append(_check_task(study, config, tasks[config.name], runs, say, problems))
    _raise(problems)
    return resolved, checked


def _check_task(
    study: StudyConfig,
    config: TaskConfig,
    task: Task,
    runs: list[RunSpec],
    say: Callable[[str], object],
    problems: list[ConfigError],
) -> CheckedTask:
    say(f"{task.name}: {task.format_note}")
    with _gathered(problems):
        _check_bertscore(study, config)
    tokenizer = load_tokenizer(runs[0])
    rows = tokenize(task, config, tokenizer)
    if task.kind == "generation":
        _, turn_end = render(task.train[:1], config, tokenizer)
        _remark_on_tokens(rows, tokenizer, config, turn_end, say)
    parameters = {}
    for spec in runs:
        with _gathered(problems):
            if (count := _check_fit(spec, task, rows, tokenizer, say)) is not None:
                parameters[spec.method.name] = count
            check_extremes(spec, lambda other: _check_fit(other, task, rows, tokenizer, say))
    return CheckedTask(config, task, tokenizer, rows, runs, parameters)


@contextlib.contextmanager
def _gathered(problems: list[ConfigError]) -> Iterator[None]:
    """Keep an error for later, unless the same one is kept already."""
    try:
        yield
    except ConfigError as error:
        if str(error) not in map(str, problems):
            problems.append(error)


def _raise(problems: list[ConfigError]) -> None:
    """Raise what was gathered: one error as it is, several as one."""
    if not problems:
        return
    if len(problems) == 1:
        raise problems[0]
    kind = DataError if all(isinstance(problem, DataError) for problem in problems) else ConfigError
    raise kind(f"{len(problems)} problems.\n" + "\n".join(map(str, problems))) from problems[0]


def _check_fit(
    spec: RunSpec,
    task: Task,
    rows: dict[str, list[dict[str, Any]]],
    tokenizer: PreTrainedTokenizerBase,
    say: Callable[[str], object],
) -> ParameterCount | None:
    """Try the method on the model's shapes, and the examples on its context; count its parameters."""
    check_shardable(spec)
    model: Any = skeleton(spec, load_config(spec, tokenizer, task.labels))
    count = None
    try:
        model = apply_method(model, find_method(spec.method.method), task.kind, spec.method.config)
        count = count_parameters(model)
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
    return count


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
