"""Measurements of each method on each task, aggregated over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from amplitune.report.columns import CONVERGENCE, COST, LEARNED, MEMORY, METRICS, Column
from amplitune.report.roles import Role, role_of
from amplitune.report.words import joined, spans
from amplitune.study.measures.convergence import convergence
from amplitune.study.stored.provenance import provenance
from amplitune.study.stored.results import BASE, Results, method_names


@dataclass(frozen=True)
class Spread:
    """A measurement over the seeds of a method: mean, minimum, maximum, and how many seeds have it."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class FailedRun:
    """A run that failed, with its reason and the place of its log within the study's folder."""

    task: str
    method: str
    seed: int
    reason: str
    log: str


@dataclass(frozen=True)
class MethodRow:
    """A method's row: the seeds done, a measurement per column (None: not measured) and the failed runs."""

    method: str
    role: Role
    seeds: tuple[int, ...]
    cells: dict[str, Spread | None]
    failed: tuple[FailedRun, ...]

    @property
    def seeds_text(self) -> str:
        """How many seeds the row stands on: "2", or "1 of 2" where some failed."""
        done = len(self.seeds)
        return f"{done} of {done + len(self.failed)}" if self.failed else str(done)


@dataclass(frozen=True)
class TaskTable:
    """The table of methods on one task; `columns[0]` is the task's primary metric.

    `convergence`, `memory` and `learned` are columns of further tables; the cells of `rows` have them all.
    """

    task: str
    kind: str | None
    columns: tuple[Column, ...]
    convergence: tuple[Column, ...]
    memory: tuple[Column, ...]
    learned: tuple[Column, ...]
    rows: tuple[MethodRow, ...]
    notes: tuple[str, ...]

    @property
    def primary(self) -> Column | None:
        """The column of the primary metric, None if the runs name none that is known."""
        return self.columns[0] if self.columns and self.columns[0].key in METRICS else None


def spread(values: pd.Series) -> Spread | None:
    """Aggregate a measurement over seeds; a seed without it does not count.

    Example:
        >>> spread(pd.Series([1.0, 2.0, float("nan")]))
        Spread(mean=1.5, low=1.0, high=2.0, n=2)
        >>> spread(pd.Series([float("nan")])) is None
        True
    """
    known = [float(value) for value in values if math.isfinite(value)]
    if not known:
        return None
    return Spread(math.fsum(known) / len(known), min(known), max(known), len(known))


def method_order(results: Results) -> list[str]:
    """List the methods that have a row: the untouched model, the study's methods in its order, any others."""
    present = set(results.table["method"])
    named = [method for method in method_names(results.study) if method in present]
    return sorted([*named, *sorted(present - set(named))], key=lambda method: method != BASE)


def task_order(results: Results) -> list[str]:
    """List the tasks that have a row, in the order of the table, which is the study's."""
    return list(dict.fromkeys(results.table["task"]))


def task_tables(results: Results) -> list[TaskTable]:
    """Aggregate the results into one table of methods per task.

    Args:
        results: what `amplitune.study.stored.results.load_results` returned.

    Returns:
        One table per task with at least one run. Only done runs enter the numbers; what no run of a task has
        measured is not a column; a method whose runs all failed keeps its row, empty, with the reasons.
    """
    measured = with_convergence(results)
    return [_task_table(results, measured[measured["task"] == task], task) for task in task_order(results)]


def _task_table(results: Results, runs: pd.DataFrame, task: str) -> TaskTable:
    done = runs[runs["status"] == "done"]
    primary = runs["primary_metric"].iloc[0]

    def known(columns: Sequence[Column]) -> tuple[Column, ...]:
        return tuple(column for column in columns if column.key in done and done[column.key].notna().any())

    quality = known([column for key, column in METRICS.items() if key != primary])
    first = (METRICS[primary],) if primary in METRICS else ()
    memory = known(MEMORY)
    if not {"peak_reserved_bytes", "weights_bytes", "energy_joules"} & {column.key for column in memory}:
        memory = ()  # the peak alone stands in the first table
    columns = (*first, *quality, *known(COST))
    convergence_columns, learned = known(CONVERGENCE), known(LEARNED)
    every = {column.key for part in (columns, convergence_columns, memory, learned) for column in part}
    rows = []
    for method in method_order(results):
        mine = runs[runs["method"] == method]
        if mine.empty:
            continue
        ended = mine[mine["status"] == "done"]
        cells = {key: spread(ended[key]) for key in sorted(every)}
        failed = [
            FailedRun(
                task, method, int(seed), reason or "no reason was written", log_path(task, method, int(seed))
            )
            for seed, reason, status in zip(mine["seed"], mine["reason"], mine["status"], strict=True)
            if status == "failed"
        ]
        seeds = tuple(int(seed) for seed in ended["seed"])
        rows.append(MethodRow(method, role_of(results.study, method), seeds, cells, tuple(failed)))
    return TaskTable(
        task=task,
        kind=runs["kind"].iloc[0],
        columns=columns,
        convergence=convergence_columns,
        memory=memory,
        learned=learned,
        rows=tuple(rows),
        notes=tuple(_notes(results, runs, done)),
    )


def with_convergence(results: Results) -> pd.DataFrame:
    """The results table with what the curves say of convergence as columns besides."""
    keys = ["task", "method", "seed"]
    found = convergence(results)
    if found.empty:
        return results.table
    added = [column.key for column in CONVERGENCE if column.key in found and column.key not in results.table]
    return results.table.merge(found[[*keys, *added]], on=keys, how="left", validate="one_to_one")


def _strangers(results: Results, runs: pd.DataFrame) -> list[str]:
    """Name the rows of a task that were made by other code or elsewhere than most rows of the study."""
    origin = provenance(results.table["environment"], results.environments)
    notes = []
    for key, found in origin.odd.items():
        own = runs[runs["environment"] == key]
        which = [
            f"{method} seed{'s' if len(rows) > 1 else ''} {spans(rows['seed'])}"
            for method, rows in own.groupby("method", sort=False)
        ]
        if which:
            notes.append(
                f"Made in another environment: {joined(which)}, with {'; '.join(one.text for one in found)}."
            )
    return notes


def log_path(task: str, method: str, seed: int) -> str:
    """Name the log of a run, relative to the study's folder."""
    return f"runs/{task}/{method}/seed-{seed}/log.txt"


def _notes(results: Results, runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """What a reader has to know to read the numbers of one task rightly."""
    notes = []
    if (done.groupby("method")["seed"].count() > 1).any():
        notes.append("Means over seeds, with minimum and maximum where the seeds differ.")
    kinds = sorted(set(done["peak_memory_kind"].dropna()))
    if kinds:
        notes.append(f"Peak memory is {' or '.join(kinds)} memory.")
    devices = sorted(set(done["energy_kind"].dropna()))
    if devices:
        notes.append(f"Energy is that of {'; '.join(devices)}.")
    signatures = sorted(set(done["bleu_signature"].dropna()))
    notes.extend(f"BLEU: sacrebleu {signature}." for signature in signatures)
    notes += _strangers(results, runs)
    present = set(zip(runs["method"], runs["seed"], strict=True))
    seeds = results.study.get("seeds") or ()
    missing = [f"{m} seed {s}" for m in method_names(results.study) for s in seeds if (m, s) not in present]
    if missing:
        notes.append(f"Still running or not started: {', '.join(missing)}.")
    return notes
