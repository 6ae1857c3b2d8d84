"""Data formats: which columns play which role, and how a row becomes a prompt with its answers."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from amplitune.errors import ConfigError, DataError, near_matches
from amplitune.study.data.conversation import is_conversation
from amplitune.study.data.examples import TaskKind
from amplitune.study.data.sources import Row, Table

ALIASES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation"),
    "instruction": ("instruction",),
    "input": ("input", "context"),
    "output": ("output", "response", "completion", "target", "answer"),
    "prompt": ("prompt", "input", "source", "question", "query"),
    "completion": ("completion", "target", "output", "response", "answer"),
    "references": ("references", "targets", "refs"),
    "text": ("text", "sentence", "review", "content"),
    "label": ("label", "labels", "sentiment", "class"),
}


@dataclass(frozen=True)
class Format:
    """A way to write a task's rows.

    Args:
        kind: the kind of task its rows make.
        required: groups of roles; of each group at least one must have a column.
        optional: roles that may be absent.
        template: default prompt template; of chat, the model's own takes its place.
    """

    kind: TaskKind
    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]
    template: str

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that a column can play."""
        return (*(role for group in self.required for role in group), *self.optional)

    @property
    def fields(self) -> tuple[str, ...]:
        """The roles that a prompt template can name."""
        return tuple(role for role in self.roles if role not in (*ANSWER_ROLES, "label", "messages"))


ANSWER_ROLES = ("output", "completion", "references")

# In the order of detection: an alpaca row also has the columns of the next entry, and rows of chat often
# repeat their first message as a prompt.
FORMATS: dict[str, Format] = {
    "chat": Format("generation", (("messages",),), (), ""),
    "alpaca": Format(
        "generation",
        (("instruction",), ("output", "references")),
        ("input",),
        "Instruction: {instruction}\nInput: {input}\nAnswer:",
    ),
    "prompt-completion": Format("generation", (("prompt",), ("completion", "references")), (), "{prompt}"),
    "text-label": Format("classification", (("text",), ("label",)), (), "{text}"),
}


def detect_format(table: Table, columns: Mapping[str, str], task: str) -> str:
    """Recognise the format of a table by its columns.

    Args:
        table: the training rows.
        columns: the user's mapping from role to column; it narrows the choice.
        task: the task's name, for the message.

    Returns:
        The first format of `FORMATS` whose required roles all have a column.

    Raises:
        DataError: no format fits.

    Example:
        >>> detect_format(Table("t", [{"sentence": "good", "label": 1}]), {}, "t")
        'text-label'
    """
    for name, form in FORMATS.items():
        assigned = _assign(form, table, columns)
        if set(columns) <= set(form.roles) and not _missing_groups(form, assigned):
            if name == "chat" and not any(
                is_conversation(row.get(assigned["messages"])) for row in table.rows
            ):
                continue
            return name
    absent = [column for column in columns.values() if column not in table.columns]
    if absent:
        # The format that has these roles says best which column is not there.
        return next((name for name, form in FORMATS.items() if set(columns) <= set(form.roles)), "alpaca")
    wanted = "; ".join(f"{name} ({_needs(form)})" for name, form in FORMATS.items())
    raise DataError(
        f"`format` of task {task!r} cannot be recognised from the columns of {table.source}: "
        f"{_quoted(table.columns)}.\n"
        f"Set format and columns, such as columns: {{prompt: {table.columns[0]}, completion: ...}}. Formats: "
        f"{wanted}."
    )


def assign_columns(name: str, table: Table, columns: Mapping[str, str], task: str) -> dict[str, str]:
    """Give each role of a format its column in a table.

    Args:
        name: a key of `FORMATS`.
        table: the rows of one split.
        columns: the user's mapping from role to column; a role that is not in it takes the first column of a
            well-known name.
        task: the task's name, for the message.

    Returns:
        Role to column, for the roles that have one.

    Raises:
        DataError: a required role has no column.
        ConfigError: `columns` names a role that the format does not have.

    Example:
        >>> assign_columns("prompt-completion", Table("t", [{"input": "a", "references": ["b"]}]), {}, "t")
        {'prompt': 'input', 'references': 'references'}
    """
    form = FORMATS[name]
    for role in columns:
        if role not in form.roles:
            raise ConfigError(
                f"`columns` of task {task!r} must map roles of format {name!r}, but {role!r} is none.\n"
                f"{near_matches(role, form.roles)}"
            )
    assigned = _assign(form, table, columns)
    for group in _missing_groups(form, assigned):
        asked = [f"{role} to {columns[role]!r}" for role in group if role in columns]
        what = (
            f"maps {' and '.join(asked)}, which is not there"
            if asked
            else "does not say and no column has a known name"
        )
        raise DataError(
            f"`columns` of task {task!r} must give {' or '.join(map(repr, group))} a column of "
            f"{table.source}, but {what}.\n"
            f"Its columns are: {_quoted(table.columns)}. Set columns: {{{group[0]}: one of them}}."
        )
    for role in form.optional:
        if role in columns and role not in assigned:
            raise DataError(
                f"`columns` of task {task!r} must map {role!r} to a column of {table.source}, but "
                f"{columns[role]!r} is not there.\n"
                f"Its columns are: {_quoted(table.columns)}."
            )
    return assigned


def check_template(template: str, name: str | None, task: str) -> None:
    """Refuse a prompt template that names something else than roles of the format.

    Args:
        template: text with fields in braces, such as "Question: {prompt}"; doubled braces stand for braces.
        name: the format, or None while it is unknown.
        task: the task's name, for the message.

    Raises:
        ConfigError: a field is unknown, has a format specification, or there is none at all.

    Example:
        >>> check_template("Question: {prompt}", "prompt-completion", "t")
    """
    forms = FORMATS.values() if name is None else (FORMATS[name],)
    valid = tuple(dict.fromkeys(role for form in forms for role in form.fields))
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(
            f"`prompt_template` of task {task!r} must be a template, but {template!r} is none: {error}.\n"
            "Write a brace that stands for itself twice: '{{' or '}}'."
        ) from error
    fields = [field for _, field, _, _ in parts if field is not None]
    for _, field, specification, conversion in parts:
        if field is not None and (field not in valid or specification or conversion):
            raise ConfigError(
                f"`prompt_template` of task {task!r} must name only roles in its braces, but has "
                f"{{{field}}}.\n"
                f"{near_matches(field, valid)} A brace that stands for itself is written twice."
            )
    if not fields:
        raise ConfigError(
            f"`prompt_template` of task {task!r} must name a role in braces, but {template!r} names none.\n"
            f"{near_matches('', valid)}"
        )


def render_prompt(template: str, row: Row, assigned: Mapping[str, str]) -> str:
    r"""Fill a prompt template from a row; a line that only asks for an empty optional role is left out.

    Args:
        template: a checked template.
        row: the row.
        assigned: role to column.

    Returns:
        The prompt.

    Example:
        >>> roles = {"instruction": "instruction", "input": "input"}
        >>> render_prompt(FORMATS["alpaca"].template, {"instruction": "Name a colour.", "input": ""}, roles)
        'Instruction: Name a colour.\nAnswer:'
    """
    values = {role: _text(row.get(column)) for role, column in assigned.items()}
    values.setdefault("input", "")
    lines = []
    for line in template.split("\n"):
        fields = [field for _, field, _, _ in string.Formatter().parse(line) if field is not None]
        if fields and all(field == "input" and not values["input"] for field in fields):
            continue
        lines.append(line.format_map(values))
    return "\n".join(lines)


def answers(row: Row, assigned: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """Read a row's own answer and its list of references.

    Args:
        row: the row.
        assigned: role to column.

    Returns:
        The answer (None if it has none, or an empty one) and the references, surrounding space removed,
        empty ones dropped.
    """
    own = next((row.get(assigned[role]) for role in ("output", "completion") if role in assigned), None)
    listed = row.get(assigned["references"]) if "references" in assigned else None
    several = listed if isinstance(listed, list | tuple) else [listed]
    return _text(own) or None, [text for text in map(_text, several) if text]


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _assign(form: Format, table: Table, columns: Mapping[str, str]) -> dict[str, str]:
    present = table.columns
    assigned: dict[str, str] = {}
    for role in form.roles:
        candidates = (columns[role],) if role in columns else ALIASES[role]
        column = next((c for c in candidates if c in present and c not in assigned.values()), None)
        if column is not None:
            assigned[role] = column
    return assigned


def _missing_groups(form: Format, assigned: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [group for group in form.required if not set(group) & set(assigned)]


def _needs(form: Format) -> str:
    return ", ".join(" or ".join(group) for group in form.required)


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
