"""The report of a study: one self-contained HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from amplitune.report.aggregate import (
    METRICS,
    FailedRun,
    TaskTable,
    method_order,
    seeds_note,
    task_tables,
)
from amplitune.report.figures import Drawing, draw_losses, draw_quality
from amplitune.report.samples import Samples, pick_samples
from amplitune.report.styles import Style, method_styles
from amplitune.report.tables import write_mean, write_range
from amplitune.report.units import duration
from amplitune.study.atomic import replacing
from amplitune.study.results import BASE, LOWER_IS_BETTER, Results, method_names


@dataclass(frozen=True)
class TaskSection:
    """Everything the page shows of one task."""

    identifier: str
    table: TaskTable
    groups: tuple[tuple[str, int], ...]
    drawings: tuple[Drawing, ...]
    samples: Samples


@dataclass(frozen=True)
class RunLine:
    """One run in the list of all runs."""

    task: str
    method: str
    seed: int
    status: str
    quality: str
    seconds: str
    environment: str | None
    command: str | None


def build_report(results: Results, path: Path) -> None:
    """Write the report of a study as one HTML file that needs nothing else, neither network nor scripts.

    The same results give the same bytes.

    Args:
        results: what `amplitune.study.results.load_results` returned.
        path: the file to write, usually report.html in the study's folder; replaced whole or not at all.
    """
    page = render_page(results)
    with replacing(Path(path)) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def render_page(results: Results) -> str:
    """Render the report of a study as HTML."""
    styles = method_styles([method for method in method_order(results) if method != BASE])
    tables = task_tables(results)
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"write_mean": write_mean, "write_range": write_range, "lower": LOWER_IS_BETTER}
    return environment.get_template("page.html.j2").render(
        css=Markup(_read("page.css")),  # noqa: S704 - a file of this package
        metrics=METRICS,
        name=results.study.get("name") or "Study",
        description=results.study.get("description") or "",
        opening=opening(results),
        demonstration=any(model.startswith("zoo:") for model in _models(results.study)),
        seeds_note=seeds_note(results),
        sections=[_section(results, table, styles, index) for index, table in enumerate(tables, start=1)],
        colours={method: style.variable for method, style in styles.items()},
        failed=_failed(tables),
        runs=_runs(results),
        environments=[_environment(key, content) for key, content in results.environments.items()],
    )


def opening(results: Results) -> str:
    """Say in words what was run: model, methods, tasks, seeds, and how the runs ended."""
    study, table = results.study, results.table
    methods = [name for name in method_names(study) or method_order(results) if name != BASE]
    tasks = [
        f"{task.get('name')} ({task['kind']})" if task.get("kind") else str(task.get("name"))
        for task in study.get("tasks") or ()
        if isinstance(task, Mapping)
    ]
    seeds = [str(seed) for seed in study.get("seeds") or sorted(set(table["seed"]))]
    models = _models(study)
    text = f"This study fine-tunes {_join(models) or 'a model'}"
    text += f" with {_count(len(methods), 'method')}: {_join(methods)}." if methods else "."
    if tasks:
        text += f" The {'task is' if len(tasks) == 1 else f'{len(tasks)} tasks are'} {_join(tasks)}."
    if seeds:
        text += f" Each method is trained once from each of {_count(len(seeds), 'seed')} ({_join(seeds)})."
    if (table["method"] == BASE).any():
        text += f" The method named {BASE} is the untouched model: evaluated, never trained."
    done, failed = int((table["status"] == "done").sum()), int((table["status"] == "failed").sum())
    ended = f"{_count(done, 'run')} finished" + (f" and {failed} failed" if failed else ", none failed")
    return f"{text} {ended}." if len(table) else f"{text} No run has ended yet."


def _read(name: str) -> str:
    return resources.files("amplitune.report").joinpath(name).read_text(encoding="utf-8")


def _models(study: Mapping[str, Any]) -> list[str]:
    tasks = [task for task in study.get("tasks") or () if isinstance(task, Mapping)]
    default = study.get("model_name_or_path")
    models = [task.get("model_name_or_path") or default for task in tasks] or [default]
    # Of a model in a local folder the name is of interest, not where it lies on that machine.
    return list(
        dict.fromkeys(Path(model).name if Path(model).is_absolute() else model for model in models if model)
    )


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}" if words else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _section(results: Results, table: TaskTable, styles: Mapping[str, Style], index: int) -> TaskSection:
    runs = results.table[results.table["task"] == table.task]
    done = runs.loc[runs["status"] == "done", ["task", "method", "seed"]]
    identifier = f"task-{index}"
    # Failed runs have curves too, but a band over seeds that end at different steps would jump.
    losses = draw_losses(results.curves.merge(done), styles, f"{identifier}-loss")
    primary = METRICS.get(str(runs["primary_metric"].iloc[0]))
    quality = draw_quality(table.rows, primary, styles, f"{identifier}-quality") if primary else None
    predictions = results.predictions.merge(done)
    samples = pick_samples(predictions, method_order(results), table.kind)
    groups = tuple(
        (group, len(list(columns))) for group, columns in groupby(column.group for column in table.columns)
    )
    return TaskSection(identifier, table, groups, tuple(d for d in (losses, quality) if d), samples)


def _failed(tables: list[TaskTable]) -> list[FailedRun]:
    return [run for table in tables for row in table.rows for run in row.failed]


def _runs(results: Results) -> list[RunLine]:
    lines = []
    for row in results.table.to_dict("records"):
        metric = METRICS.get(str(row["primary_metric"]))
        quality = metric.write(row["primary_value"]) if metric and pd.notna(row["primary_value"]) else ""
        lines.append(
            RunLine(
                task=row["task"],
                method=row["method"],
                seed=int(row["seed"]),
                status=row["status"],
                quality=f"{metric.label} {quality}" if metric and quality else "",
                seconds=duration(row["seconds"]),
                environment=row["environment"],
                command=row["command"],
            )
        )
    return lines


def _environment(key: str, content: Mapping[str, Any]) -> dict[str, Any]:
    packages = content.get("packages")
    facts = [
        (name.replace("_", " "), str(value))
        for name, value in content.items()
        if name != "packages" and value is not None and not isinstance(value, dict | list)
    ]
    versions = list(packages.items()) if isinstance(packages, Mapping) else []
    return {"key": key, "facts": facts, "packages": versions}
