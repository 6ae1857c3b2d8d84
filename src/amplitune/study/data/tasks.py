"""Loading a task: from its configuration to prompts with answers, or texts with labels."""

from collections.abc import Sequence

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.chat import check_chat_settings
from amplitune.study.data.conversation import Message, read_conversation
from amplitune.study.data.examples import (
    Example,
    Task,
    TaskKind,
    carve_validation,
    group_references,
    last_answers,
    subset,
)
from amplitune.study.data.formats import (
    ANSWER_ROLES,
    FORMATS,
    answers,
    assign_columns,
    check_template,
    detect_format,
    render_prompt,
)
from amplitune.study.data.labels import class_names, label_index
from amplitune.study.data.sources import ZOO_PREFIX, Table, read_file, read_hub, read_zoo
from amplitune.study.data.task_config import TaskConfig

__all__ = ["Example", "Task", "TaskConfig", "TaskKind", "load_task"]


def load_task(task: TaskConfig) -> Task:
    """Read a task's data and turn its rows into examples.

    Training rows become one example each (one for each reference where a row lists several); evaluation rows
    that share a prompt become one example with all their references. Of chat, each answer of a training
    conversation is an example with the turns before it; evaluation conversations are scored by their last
    answer. Rows without an answer are left out and counted in the note. Without validation data, a tenth of
    the training prompts is split off by `data_seed`; the test data is only ever read for testing.

    Args:
        task: the configuration.

    Returns:
        The examples, with a note on what was recognised.

    Raises:
        DataError: a file, column, split, answer or label is not there or not what the task needs.
        ConfigError: settings contradict the format that was found.
    """
    tables = _read(task)
    name = detect_format(tables["train"], task.columns, task.name) if task.format == "auto" else task.format
    form = FORMATS[name]
    if task.kind not in (None, form.kind):
        raise ConfigError(
            f"`kind` of task {task.name!r} must fit its data, but is {task.kind!r} where "
            f"{tables['train'].source} is in the {form.kind} format {name!r}.\n"
            "Remove kind, or set format and columns."
        )
    task.metric_names(form.kind)
    check_chat_settings(task, name)
    template = form.template if task.prompt_template is None else task.prompt_template
    if name != "chat":
        check_template(template, name, task.name)

    notes = []
    splits: dict[str, list[Example]] = {}
    labels = None
    for role, table in tables.items():
        assigned = assign_columns(name, table, task.columns, task.name)
        notes.append(f"{table.source}: {name} ({', '.join(f'{r}={c}' for r, c in assigned.items())})")
        if form.kind == "classification":
            if labels is None:
                labels = class_names(table, assigned["label"], task.labels, task.name)
            splits[role] = _classification_examples(task, table, assigned, template, labels, role)
        elif name == "chat":
            splits[role] = _chat_examples(task, table, assigned["messages"], role)
            if role == "train":
                notes.append(f"{len(table.rows)} conversations with {len(splits[role])} answers to train on")
        else:
            splits[role] = _generation_examples(task, table, assigned, template, role)
            dropped = len(table.rows) - len({example.index for example in splits[role]})
            if dropped:
                notes.append(
                    f"{dropped} of {len(table.rows)} rows of {table.source} have no answer and are left out"
                )
    train = splits["train"]
    if "validation" in splits:
        validation = splits["validation"]
    else:
        train, validation = carve_validation(train, task.data_seed, task.name)
        if name == "chat":
            validation = last_answers(validation)
        notes.append(
            f"no validation data: {len(validation)} examples split off the training data, seed "
            f"{task.data_seed}"
        )
    test = splits["test"]
    if form.kind == "generation":
        validation, test = group_references(validation), group_references(test)
    return Task(
        task.name,
        form.kind,
        subset(train, task.max_train_examples, task.data_seed, "train"),
        subset(validation, task.max_validation_examples, task.data_seed, "validation"),
        subset(test, task.max_test_examples, task.data_seed, "test"),
        labels,
        "; ".join(notes),
    )


def _read(task: TaskConfig) -> dict[str, Table]:
    if task.dataset_name is None:
        files = {"train": task.train_file, "validation": task.validation_file, "test": task.test_file}
        return {role: read_file(file, f"{role}_file") for role, file in files.items() if file}
    splits = {"train": task.train_split, "validation": task.validation_split, "test": task.test_split}
    if task.dataset_name.startswith(ZOO_PREFIX):
        return read_zoo(task.dataset_name.removeprefix(ZOO_PREFIX), splits)
    return read_hub(task.dataset_name, task.dataset_config_name, splits)


def _prompt(task: TaskConfig, table: Table, row: int, assigned: dict[str, str], template: str) -> str:
    for role, column in assigned.items():
        value = table.rows[row].get(column)
        if role != "references" and isinstance(value, list | tuple | dict):
            raise DataError(
                f"Column {column!r} of {table.source} in task {task.name!r} must hold text as {role}, but "
                f"row {row} (counted from 0) holds a {type(value).__name__}: {str(value)[:60]}.\n"
                "Several answers are references; messages are read with format: chat, a conversation a row."
            )
    prompt = render_prompt(template, table.rows[row], assigned)
    first = next(column for role, column in assigned.items() if role not in (*ANSWER_ROLES, "label"))
    value = table.rows[row].get(first)
    if value is None or not str(value).strip():
        raise DataError(
            f"Each row of {table.source} in task {task.name!r} must have a value in column {first!r}, but "
            f"row {row} (counted from 0) has none.\n"
            "Fill it in, or delete the row."
        )
    return _substituted(task, prompt)


def _substituted(task: TaskConfig, text: str) -> str:
    for old, new in task.substitutions.items():
        text = text.replace(old, new)
    return text


def _classification_examples(
    task: TaskConfig, table: Table, assigned: dict[str, str], template: str, labels: Sequence[str], split: str
) -> list[Example]:
    return [
        Example(
            _prompt(task, table, row, assigned, template),
            label=label_index(table, row, assigned["label"], labels, f"{split} split of task {task.name!r}"),
            index=row,
        )
        for row in range(len(table.rows))
    ]


def _chat_examples(task: TaskConfig, table: Table, column: str, split: str) -> list[Example]:
    examples = []
    for row, values in enumerate(table.rows):
        messages = read_conversation(values.get(column), f"row {row} (counted from 0) of {table.source}")
        asked = tuple(Message(m.role, _substituted(task, m.content)) for m in messages)
        for turn, message in enumerate(messages):
            if message.role == "assistant" and (split == "train" or turn == len(messages) - 1):
                answer = message.content.strip()
                examples.append(Example("", answer, (answer,), index=row, messages=asked[:turn]))
    return examples


def _generation_examples(
    task: TaskConfig, table: Table, assigned: dict[str, str], template: str, split: str
) -> list[Example]:
    examples = []
    for row, values in enumerate(table.rows):
        own, listed = answers(values, assigned)
        references = listed or ([own] if own else [])
        if not references:
            continue
        prompt = _prompt(task, table, row, assigned, template) + task.separator
        if split == "train":
            trained = [own] if own else references
            examples += [Example(prompt, answer, (answer,), index=row) for answer in trained]
        else:
            examples.append(Example(prompt, references[0], tuple(references), index=row))
    if not examples:
        raise DataError(
            f"The {split} split of task {task.name!r} must have answers, but none of the {len(table.rows)} "
            f"rows of {table.source} has one.\n"
            f"Check the columns: {', '.join(map(repr, table.columns))}."
        )
    return examples
