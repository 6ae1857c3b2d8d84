"""What the page shows of one task: tables, figures, verdicts, samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from amplitune.report.aggregate import MethodRow, TaskTable, method_order
from amplitune.report.axes import Drawing
from amplitune.report.columns import METRICS, Column
from amplitune.report.losses import draw_losses
from amplitune.report.modules import ModuleTable, module_table
from amplitune.report.opening import TESTED
from amplitune.report.pareto import draw_fronts
from amplitune.report.runs import Chosen, chosen_settings
from amplitune.report.samples import Samples, pick_samples
from amplitune.report.styles import Style
from amplitune.report.trial_scores import draw_trials
from amplitune.report.units import significant
from amplitune.report.verdicts import (
    VerdictTable,
    controls_in_words,
    mixed_comparisons,
    verdict_of,
    verdict_tables,
)
from amplitune.report.words import sentence
from amplitune.study.measures.convergence import targets
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results


@dataclass(frozen=True)
class Panel:
    """A table of measurements of each method, folded under its title."""

    identifier: str
    title: str
    intro: str
    columns: tuple[Column, ...]
    rows: tuple[MethodRow, ...]
    modules: ModuleTable | None = None

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Names of groups of neighbouring columns, with how many columns each has."""
        return groups(self.columns)


@dataclass(frozen=True)
class Controls:
    """A method against each of its controls: the table, what it says in words, the loss curves."""

    table: VerdictTable
    words: tuple[str, ...]
    losses: tuple[Drawing, ...]


@dataclass(frozen=True)
class TaskSection:
    """Everything the page shows of one task."""

    identifier: str
    table: TaskTable
    warning: str
    verdicts: dict[str, str] | None
    budget: int | None
    views: tuple[VerdictTable, ...]
    check: tuple[VerdictTable, ...]
    check_reason: str
    figures: tuple[tuple[Drawing, ...], ...]
    controls: tuple[Controls, ...]
    chosen: tuple[Chosen, ...]
    trials: Drawing | None
    panels: tuple[Panel, ...]
    samples: Samples


def groups(columns: tuple[Column, ...]) -> list[tuple[str, int]]:
    """Names of groups of neighbouring columns, with how many columns each has."""
    return [(group, len(list(members))) for group, members in groupby(columns, lambda column: column.group)]


def task_section(
    results: Results,
    found: Findings,
    trials: pd.DataFrame,
    table: TaskTable,
    styles: Mapping[str, Style],
    index: int,
) -> TaskSection:
    """Collect what is shown of a task.

    Args:
        results: the results of the study.
        found: what the statistics say of them.
        trials: the trials of the study.
        table: the task's table of methods.
        styles: how each method is drawn.
        index: the task's number on the page, from 1.
    """
    identifier = f"task-{index}"
    runs = results.table[results.table["task"] == table.task]
    finished = runs[runs["status"] == "done"]
    done = finished[["task", "method", "seed"]]
    trials = trials[trials["task"] == table.task]
    metric = str(runs["primary_metric"].iloc[0])
    primary = METRICS.get(metric)
    # Failed runs have curves too, but a band over seeds that end at different steps would jump.
    curves = results.curves.merge(done)
    roles = {row.method: row.role for row in table.rows}
    main = {
        m: style for m, style in styles.items() if m in roles and roles[m].kind in ("method", "reference")
    }
    losses = draw_losses(curves, main, f"{identifier}-loss")
    estimates = [estimate for estimate in found.estimates if estimate.task == table.task]
    fronts = draw_fronts(table.rows, primary, estimates, styles, f"{identifier}-front") if primary else ()
    check = next((check for check in found.checks if check.task == table.task), None)
    tuned = bool(results.study.get("tuning"))
    own = [c for c in found.comparisons if c.task == table.task] + list(check.comparisons if check else ())
    made = {
        (table.task, str(method)): set(rows["environment"])
        for method, rows in finished.groupby("method", sort=False)
    }
    tables = verdict_tables(own, tuned, mixed_comparisons(own, made))
    controls = []
    for number, controlled in enumerate((t for t in tables if t.view == "control"), start=1):
        members = [controlled.baseline, *(row.comparison.method for row in controlled.rows)]
        drawn = draw_losses(
            curves, {m: styles[m] for m in members if m in styles}, f"{identifier}-controls-{number}"
        )
        controls.append(Controls(controlled, tuple(controls_in_words(controlled)), drawn))
    verdicts = {row.method: verdict_of(found, table.task, row.method) for row in table.rows}
    return TaskSection(
        identifier=identifier,
        table=table,
        warning=f"This task ranks nothing. {sentence(check.reason)}"
        if check and check.ranks is False
        else "",
        verdicts=verdicts if set(verdicts.values()) & {*TESTED} else None,
        budget=next((role.parameters for role in roles.values() if role.kind == "matched"), None),
        views=tuple(t for t in tables if t.view in ("tuned", "matched")),
        check=tuple(t for t in tables if t.view == "reference"),
        check_reason=sentence(check.reason) if check else "",
        figures=tuple(drawings for drawings in (losses, fronts) if drawings),
        controls=tuple(controls),
        chosen=tuple(chosen_settings(trials, metric, method_order(results))),
        trials=draw_trials(trials, primary, styles, f"{identifier}-trials") if primary else None,
        panels=_panels(results, table, done, identifier),
        samples=pick_samples(results.predictions.merge(done), method_order(results), table.kind),
    )


def _panels(results: Results, table: TaskTable, done: pd.DataFrame, identifier: str) -> tuple[Panel, ...]:
    """The folded tables that have at least one number; methods without any are left out."""
    target = targets(results).get(table.task)
    goal = f"The target is a validation loss of {significant(target)}. " if target is not None else ""
    modules = module_table(results.modules.merge(done), method_order(results))
    panels = [
        Panel(
            f"{identifier}-convergence",
            "Convergence",
            f"{goal}Between two validation losses the curve is taken as straight; an n counts the seeds that "
            "reached the target, and a blank means that none did.",
            table.convergence,
            _with(table, table.convergence),
        ),
        Panel(
            f"{identifier}-memory",
            "Memory and energy",
            "Of training. Weights, gradients and optimizer state are counted after the first step; on a CPU "
            "the peak is that of the whole process, interpreter and libraries included.",
            table.memory,
            _with(table, table.memory),
        ),
        Panel(
            f"{identifier}-learned",
            "What training changed",
            "How the activations of the adapted modules differ from the base model's, and how well text that "
            "no task is about is still predicted.",
            table.learned,
            _with(table, table.learned),
            modules,
        ),
    ]
    return tuple(panel for panel in panels if panel.columns)


def _with(table: TaskTable, columns: tuple[Column, ...]) -> tuple[MethodRow, ...]:
    return tuple(row for row in table.rows if any(row.cells[column.key] is not None for column in columns))
