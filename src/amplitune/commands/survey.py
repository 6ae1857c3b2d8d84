"""The command that surveys fine-tuning methods on a model."""

import json
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amplitune.errors import ConfigError
from amplitune.study.data.examples import TaskKind
from amplitune.study.survey import Row, Survey
from amplitune.study.survey import survey as make_survey
from amplitune.study.survey.entry import GROUPS
from amplitune.study.survey.table import NOT_DESCRIBED

LEGEND = (
    "Formulas: d_in, d_out: widths of an adapted module; bias: 1 if it has one; count: modules of one name "
    "and shape; d: width of the hidden state; kv: of all keys of a token; other names are settings. Costs "
    "are for a token in an adapted module, beyond those of the frozen model: multiplications of the forward "
    "pass in training, and numbers kept for the backward pass."
)


def survey(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help='hub id, folder, config.json or "zoo:llama"; no weights')
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[method.key=value ...]", help="settings of a method's config: lora.r=16"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="generation or classification; unset, as the model's config says")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the survey as JSON on standard output")
    ] = False,
) -> None:
    """Describe every fine-tuning method on a model: size, cost, whether it merges, whether it is linear."""
    if task not in (None, "generation", "classification"):
        raise ConfigError(
            f"`--task` must be generation or classification, but is {task!r}. Give one of them."
        )
    kind = cast(TaskKind | None, task)
    with warnings.catch_warnings():
        # What peft says of single methods while it tries them on; the rows say what matters of it.
        warnings.simplefilter("ignore")
        made = make_survey(model, kind, parse_settings(settings or ()))
    if as_json:
        typer.echo(json.dumps(made.to_dict(), ensure_ascii=False, indent=2, default=str))
    else:
        show(made, Console())


def parse_settings(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read settings of methods from the command line.

    Args:
        words: `method.key=value`, values as YAML.

    Raises:
        ConfigError: one is written otherwise.

    Example:
        >>> parse_settings(["lora.r=4", "qaa.readout=Z+ZZ", "lora.use_dora=true"])
        {'lora': {'r': 4, 'use_dora': True}, 'qaa': {'readout': 'Z+ZZ'}}
    """
    settings: dict[str, dict[str, Any]] = {}
    for word in words:
        place, separator, text = word.partition("=")
        method, dot, key = place.partition(".")
        if not (separator and dot and method and key):
            raise ConfigError(
                f"A setting must have the form method.key=value, but is {word!r}. Write it like lora.r=16."
            )
        try:
            settings.setdefault(method, {})[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"The value of {word!r} is not valid YAML: {error}. Correct it.") from error
    return settings


def show(made: Survey, console: Console) -> None:
    """Print a survey as a table for each group of methods.

    Args:
        made: the survey.
        console: where to.
    """
    shapes = ", ".join(f"{name} {value:,}" for name, value in made.shapes.items())
    console.print(Text(f"{made.model}: {made.architecture}, {made.task}; {shapes}"))
    for group in (*GROUPS, NOT_DESCRIBED):
        rows = [row for row in made.rows if row.group == group]
        if rows:
            console.print(_group_table(group, rows))
    console.print(Text(LEGEND, "dim"))


def _group_table(group: str, rows: Sequence[Row]) -> Table:
    table = Table(
        title=group, title_justify="left", title_style="bold", show_lines=True, expand=True, padding=0
    )
    for heading, ratio in (
        ("method", 6),
        ("what it does", 9),
        ("trained parameters", 9),
        ("for a token", 8),
        ("merges,\nnon-\nlinear", 4),
    ):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for row in sorted(rows, key=lambda row: row.method):
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[Text]:
    settings = ", ".join(f"{key}: {_short(value)}" for key, value in row.settings.items())
    size = "" if row.parameters is None else f"{row.parameters:,} ({row.percent:.3g} %)"
    if row.angles:
        size += f", {row.angles:,} angles"
    if row.head_parameters:
        size += f", head {row.head_parameters:,}"
    computed = row.parameters_by_formula
    by_formula = "" if computed is None or computed == row.parameters else f"by formula {computed:,}"
    costs = [f"time {row.time}", f"kept {row.memory}: {row.stores}"] if row.time else []
    return [
        _lines((row.method, "bold"), (row.source, "dim")),
        _lines((row.mechanism, ""), (row.remark, "dim"), (settings, "dim italic")),
        _lines((size, ""), (row.reason, "yellow"), (by_formula, ""), (row.formula, "dim")),
        _lines(*((cost, "") for cost in costs)),
        _lines((_word(row.mergeable), ""), (_word(row.nonlinear), "")),
    ]


def _lines(*parts: tuple[str, str]) -> Text:
    return Text("\n").join(Text(text, style) for text, style in parts if text)


def _word(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]} ..."
