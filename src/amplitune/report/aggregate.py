"""Measurements of each method on each task, aggregated over seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from amplitune.report.units import count, duration, rate, size
from amplitune.study.results import BASE, Results, method_names

SEEDS_FOR_A_CLAIM = 5


@dataclass(frozen=True)
class Spread:
    """A measurement over the seeds of a method: mean, minimum, maximum, and how many seeds have it."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Column:
    """A measurement as a column: its key in the results table, its label, how it is written, its meaning."""

    key: str
    label: str
    write: Callable[[float], str]
    meaning: str
    group: str = ""


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
    """The table of methods on one task; `columns[0]` is the task's primary metric."""

    task: str
    kind: str | None
    columns: tuple[Column, ...]
    rows: tuple[MethodRow, ...]
    notes: tuple[str, ...]


def _fixed(digits: int) -> Callable[[float], str]:
    def write(value: float) -> str:
        return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else ""

    return write


def _metric(key: str, label: str, digits: int, meaning: str) -> Column:
    return Column(key, label, _fixed(digits), meaning, "Quality on the test split")


_METRICS = (
    _metric("bleu", "BLEU", 1, "corpus BLEU, 0 to 100, higher is better"),
    _metric("rouge1", "ROUGE-1", 3, "stemmed ROUGE-1 F, 0 to 1, higher is better"),
    _metric("rouge2", "ROUGE-2", 3, "stemmed ROUGE-2 F, 0 to 1, higher is better"),
    _metric("rougeL", "ROUGE-L", 3, "stemmed ROUGE-L F, 0 to 1, higher is better"),
    _metric("bertscore_f1", "BERTScore", 3, "BERTScore F1, higher is better"),
    _metric("accuracy", "Accuracy", 3, "share of right labels, 0 to 1, higher is better"),
    _metric("f1", "F1", 3, "0 to 1, higher is better"),
    _metric("mcc", "MCC", 3, "Matthews correlation, -1 to 1, higher is better"),
    _metric("perplexity", "Perplexity", 2, "of the reference answer, lower is better"),
)
METRICS = {column.key: column for column in _METRICS}
_PARAMETERS = "Trainable parameters"
EFFICIENCY = (
    Column("trainable_parameters", "all", count, "all trained numbers", _PARAMETERS),
    Column("angles", "angles", count, "rotation angles of the circuits", _PARAMETERS),
    Column("classical_parameters", "weights", count, "trained numbers outside the circuits", _PARAMETERS),
    Column("adapter_bytes", "Adapter", size, "bytes saved for the task; 1 KB is 1000 bytes", "Cost"),
    Column("peak_memory_bytes", "Peak memory", size, "peak memory of the run; 1 MB is 1000 KB", "Cost"),
    Column("step_seconds", "Step", duration, "time of one optimizer step, without evaluation", "Cost"),
    Column("generation_tokens_per_second", "Tokens/s", rate, "tokens generated per second", "Cost"),
)


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
        results: what `amplitune.study.results.load_results` returned.

    Returns:
        One table per task with at least one run. Only done runs enter the numbers; what no run of a task has
        measured is not a column; a method whose runs all failed keeps its row, empty, with the reasons.
    """
    return [_task_table(results, task) for task in task_order(results)]


def _task_table(results: Results, task: str) -> TaskTable:
    runs = results.table[results.table["task"] == task]
    done = runs[runs["status"] == "done"]
    primary = runs["primary_metric"].iloc[0]
    measured = [key for key in METRICS if done[key].notna().any() and key != primary]
    quality = ([METRICS[primary]] if primary in METRICS else []) + [METRICS[key] for key in measured]
    cost = [column for column in EFFICIENCY if done[column.key].notna().any()]
    columns = (*quality, *cost)
    rows = []
    for method in method_order(results):
        mine = runs[runs["method"] == method]
        if mine.empty:
            continue
        ended = mine[mine["status"] == "done"]
        cells = {column.key: spread(ended[column.key]) for column in columns}
        failed = [
            FailedRun(
                task, method, int(seed), reason or "no reason was written", log_path(task, method, int(seed))
            )
            for seed, reason, status in zip(mine["seed"], mine["reason"], mine["status"], strict=True)
            if status == "failed"
        ]
        rows.append(MethodRow(method, tuple(int(seed) for seed in ended["seed"]), cells, tuple(failed)))
    kind = runs["kind"].iloc[0]
    return TaskTable(task, kind, columns, tuple(rows), tuple(_notes(results, runs, done)))


def log_path(task: str, method: str, seed: int) -> str:
    """Name the log of a run, relative to the study's folder."""
    return f"runs/{task}/{method}/seed-{seed}/log.txt"


def _notes(results: Results, runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """What a reader has to know to read the numbers of one task rightly."""
    notes = []
    if (done.groupby("method")["seed"].count() > 1).any():
        notes.append(
            "Large: mean over seeds. Small: minimum and maximum over seeds, left out where all seeds agree."
        )
    kinds = sorted(set(done["peak_memory_kind"].dropna()))
    if kinds:
        notes.append(f"Peak memory is {' or '.join(kinds)} memory.")
    signatures = sorted(set(done["bleu_signature"].dropna()))
    notes.extend(f"BLEU: sacrebleu {signature}." for signature in signatures)
    environments = sorted(set(runs["environment"].dropna()))
    if len(environments) > 1:
        notes.append(f"These rows come from {len(environments)} environments: {', '.join(environments)}.")
    present = set(zip(runs["method"], runs["seed"], strict=True))
    seeds = results.study.get("seeds") or ()
    missing = [f"{m} seed {s}" for m in method_names(results.study) for s in seeds if (m, s) not in present]
    if missing:
        notes.append(f"Still running or not started: {', '.join(missing)}.")
    return notes


def seeds_note(results: Results) -> str:
    """Say what the number of seeds allows to conclude."""
    trained = results.table[results.table["method"] != BASE]
    done = (trained["status"] == "done").groupby([trained["task"], trained["method"]]).sum()
    fewest = int(done.min()) if len(done) else 0
    if fewest >= SEEDS_FOR_A_CLAIM:
        return "No statistical test is made here: read the ranges over seeds, not the order of the means."
    return (
        f"Fewest finished seeds of a method on a task: {fewest}. With fewer than {SEEDS_FOR_A_CLAIM} "
        "seeds no method is ranked: differences are observations, not findings."
    )
