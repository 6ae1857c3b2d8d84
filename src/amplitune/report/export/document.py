"""A report as a document of headings, paragraphs, lists and tables, in no markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amplitune.report.aggregate import MethodRow, TaskTable, method_order, task_tables
from amplitune.report.columns import METRICS, Column
from amplitune.report.limits import what_cannot_be_said
from amplitune.report.opening import what_was_found
from amplitune.report.roles import roles_of
from amplitune.report.runs import chosen_settings, run_lines
from amplitune.report.setting import what_was_run
from amplitune.report.tables import write_mean, write_range
from amplitune.report.verdicts import VerdictTable, across_rows, metric_label, verdict_of, verdict_tables
from amplitune.report.words import sentence
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.provenance import provenance
from amplitune.study.stored.results import LOWER_IS_BETTER, Results

CIRCUITS = (
    "Quantum circuits are simulated classically. The simulation is counted in every time and every memory "
    "figure; no quantum speed is claimed."
)


@dataclass(frozen=True)
class Table:
    """A table of texts; `right` says of each column whether it is set to the right."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]


@dataclass(frozen=True)
class Part:
    """A heading with what stands under it: paragraphs, then a list, then tables."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Document:
    """A report without its markup."""

    title: str
    description: str
    parts: tuple[Part, ...]


def document(results: Results, found: Findings) -> Document:
    """Write a report as a document.

    Args:
        results: the results of a study.
        found: what the statistics say of them.
    """
    study, table, trials = results.study, results.table, results.trials
    roles = roles_of(study, method_order(results))
    references = [method for method, role in roles.items() if role.kind == "reference"]
    origin = provenance(table["environment"], results.environments)
    parts = []
    if len(table):
        said = what_was_found(found, bool(study.get("tuning")), references)
        limits = what_cannot_be_said(found, results, trials, origin)
        parts = [Part("What was found", tuple(said)), Part("What cannot be said", items=tuple(limits))]
    parts.append(Part("What was run", (what_was_run(results, len(trials)), CIRCUITS)))
    parts += [_task(results, found, task) for task in task_tables(results)]
    if found.across:
        parts.append(Part("All tasks together", tables=(_across(found),)))
    if found.notes:
        parts.append(Part("Notes on the statistics", items=found.notes))
    failed = [line for line in run_lines(results, origin) if line.status == "failed"]
    if failed:
        rows = tuple((line.row, line.reason or "no reason was written") for line in failed)
        parts.append(Part("Failed runs", tables=(_table("Failed runs", ("Run", "Reason"), rows, 2),)))
    return Document(str(study.get("name") or "Study"), str(study.get("description") or ""), tuple(parts))


def _task(results: Results, found: Findings, table: TaskTable) -> Part:
    check = next((check for check in found.checks if check.task == table.task), None)
    own = [c for c in found.comparisons if c.task == table.task] + list(check.comparisons if check else ())
    tables = [_methods(table, found)]
    tables += [_verdicts(one, table.task) for one in verdict_tables(own, bool(results.study.get("tuning")))]
    trials = results.trials[results.trials["task"] == table.task]
    if len(trials):
        metric = table.primary.key if table.primary else ""
        rows = tuple(
            (row.method, row.score, row.trials, row.settings, row.edge)
            for row in chosen_settings(trials, metric, method_order(results))
        )
        headers = ("Method", "Score on validation", "Trials", "Chosen settings", "At the edge")
        tables.append(Table(f"Tuning on {table.task}", headers, rows, (False, True, True, False, False)))
    for caption, columns in (
        (f"Convergence on {table.task}", table.convergence),
        (f"Memory and energy on {table.task}", table.memory),
        (f"What training changed on {table.task}", table.learned),
    ):
        if columns:
            tables.append(_measures(caption, columns, table.rows))
    warning = (
        (f"This task ranks nothing. {sentence(check.reason)}",) if check and check.ranks is False else ()
    )
    heading = f"{table.task} ({table.kind})" if table.kind else table.task
    return Part(heading, (*warning, *table.notes), tables=tuple(tables))


def _methods(table: TaskTable, found: Findings) -> Table:
    verdicts = {row.method: verdict_of(found, table.task, row.method) for row in table.rows}
    measures = _measures(f"Methods on {table.task}", table.columns, table.rows)
    headers = (*measures.headers[:2], "Verdict", *measures.headers[2:])
    rows = tuple(
        (*cells[:2], verdicts[row.method], *cells[2:])
        for row, cells in zip(table.rows, measures.rows, strict=True)
    )
    return Table(measures.caption, headers, rows, (False, True, False, *measures.right[2:]))


def _measures(caption: str, columns: Sequence[Column], rows: Iterable[MethodRow]) -> Table:
    """A table of measurements; a group's name stands before a label that says little by itself."""
    headers = ["Method", "Seeds", *(_header(column) for column in columns)]
    cells = tuple(
        (row.method, row.seeds_text, *(_cell(row, column) for column in columns))
        for row in rows
        if row.failed or any(row.cells[column.key] is not None for column in columns)
    )
    return Table(caption, tuple(headers), cells, (False, *[True] * (len(columns) + 1)))


def _header(column: Column) -> str:
    if column.key in METRICS:
        return f"{column.label} {'↓' if column.key in LOWER_IS_BETTER else '↑'}"
    return _LONG.get(column.key, column.label)


_LONG = {
    "trainable_parameters": "Trainable",
    "angles": "Angles",
    "classical_parameters": "Weights",
    "steps_to_target": "Steps to target",
    "tokens_to_target": "Tokens to target",
    "seconds_to_target": "Time to target",
    "train_seconds": "Training time",
    "weights_bytes": "Of weights",
    "gradients_bytes": "Of gradients",
    "optimizer_bytes": "Of the optimizer",
    "activations_bytes": "Of activations",
    "energy_joules": "Energy of training",
    "generation_energy_joules": "Energy of generation",
    "held_out_perplexity_before": "Held-out perplexity before",
    "held_out_perplexity": "Held-out perplexity after",
}


def _cell(row: MethodRow, column: Column) -> str:
    mean, between = (
        write_mean(column, row.cells[column.key], len(row.seeds)),
        write_range(column, row.cells[column.key]),
    )
    return f"{mean} ({between})" if between else mean


def _verdicts(table: VerdictTable, task: str) -> Table:
    first = ("Method", "Seeds", "Difference", "95 % interval", "p, Holm", "Verdict", "Detectable")
    headers = (*first, "Error of seeds", "Error of examples")
    rows = tuple(
        (
            row.comparison.method,
            str(row.comparison.n_seeds),
            row.difference,
            row.interval,
            row.p,
            row.comparison.verdict,
            row.detectable,
            row.seed_error,
            row.example_error,
        )
        for row in table.rows
    )
    caption = f"{table.title} on {task}: difference in {metric_label(table.metric)} from {table.baseline}"
    return Table(caption, headers, rows, (False, True, True, True, True, False, True, True, True))


def _across(found: Findings) -> Table:
    first = ("Method", "View", "Baseline", "Interquartile mean", "95 % interval")
    headers = (*first, "Probability of improvement", "95 % interval", "Tasks")
    rows = tuple(
        (
            row.across.method,
            row.across.view,
            row.across.baseline,
            row.iqm,
            row.iqm_interval,
            row.improvement,
            row.improvement_interval,
            str(len(row.across.tasks)),
        )
        for row in across_rows(found)
    )
    return Table("Methods over all tasks", headers, rows, (False, False, False, *[True] * 5))


def _table(caption: str, headers: tuple[str, ...], rows: tuple[tuple[str, ...], ...], words: int) -> Table:
    return Table(caption, headers, rows, (*[False] * words, *[True] * (len(headers) - words)))
