"""Tables of methods, one per task, as text: how a cell is written and the tables for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from amplitune.report.aggregate import Spread, TaskTable, task_tables
from amplitune.report.columns import Column
from amplitune.report.opening import TESTED
from amplitune.report.units import count
from amplitune.report.verdicts import verdict_of
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import LOWER_IS_BETTER, Results

LEGEND = "Means over seeds (minimum–maximum)."
UNTESTED = "No verdict: one takes 5 seeds, and a task that can tell methods apart."
_TONES = {"better": "green", "worse": "red", "baseline": "bold"}


def write_mean(column: Column, cell: Spread | None, seeds: int) -> str:
    """Write the mean of a cell, with its own n if fewer seeds have it than `seeds`; empty if none has."""
    if cell is None:
        return ""
    text = column.write(cell.mean)
    return text if cell.n == seeds else f"{text} (n = {cell.n})"


def write_range(column: Column, cell: Spread | None) -> str:
    """Write the minimum and maximum of a cell; empty for one seed, or where all seeds read the same."""
    if cell is None or column.write(cell.low) == column.write(cell.high):
        return ""
    low, _, low_unit = column.write(cell.low).partition(" ")
    high, _, high_unit = column.write(cell.high).partition(" ")
    if low_unit != high_unit:
        low = f"{low} {low_unit}"
    between = " to " if cell.low < 0 else "–"
    return f"{low}{between}{high} {high_unit}".rstrip()


def broken(name: str, width: int = 12) -> str:
    """Break a long name where it has hyphens, so that its parts stay whole in a narrow column.

    Example:
        >>> broken("qaa-no-entangler").split(), broken("lora")
        (['qaa-no-', 'entangler'], 'lora')
    """
    lines = [""]
    for part in name.replace("-", "- ").split():
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def terminal_table(results: Results, found: Findings) -> Table:
    """Lay the tables of methods out for a terminal of 80 columns.

    Args:
        results: what `amplitune.study.stored.results.load_results` returned.
        found: what the statistics say of them.

    Returns:
        A grid with one table per task: quality on the task's primary metric with its verdict, trainable
        parameters (angles and classical weights apart) and cost; each failed run is a line with its reason,
        and so is a task that ranks nothing.
    """
    grid = Table.grid()
    tables = task_tables(results)
    if not tables:
        grid.add_row(Text("No run has ended yet."))
    for table in tables:
        grid.add_row(Group(*_terminal_task(table, found)))
    if tables:
        tested = any(comparison.verdict in TESTED for comparison in found.comparisons)
        against = (
            f"Verdicts against {found.baseline}; of a control, against its method." if tested else UNTESTED
        )
        grid.add_row(Text(f"{LEGEND} {against}", style="dim"))
    return grid


def _terminal_task(table: TaskTable, found: Findings) -> list[Table | Text]:
    columns = {column.key: column for column in table.columns}
    primary = table.primary
    arrow = "" if primary is None else (" ↓" if primary.key in LOWER_IS_BETTER else " ↑")
    view = Table(title=Text(table.task, style="bold"), title_justify="left", box=None, pad_edge=False)
    view.add_column("method", overflow="fold")
    # Only names and words may wrap: a number cut short is a wrong number.
    for header in ("seeds", f"{primary.label if primary else 'quality'}{arrow}"):
        view.add_column(header, justify="right", no_wrap=True)
    view.add_column("verdict", min_width=11)
    view.add_column("angles +\nweights", justify="right", no_wrap=True)
    keys = ("peak_memory_bytes", "step_seconds")
    costs = [columns[key] for key in keys if key in columns]
    for column in costs:
        view.add_column(column.label.lower().replace(" ", "\n"), justify="right", no_wrap=True)
    for row in table.rows:
        n = len(row.seeds)
        quality = ""
        if primary is not None:
            between = write_range(primary, row.cells[primary.key])
            quality = write_mean(primary, row.cells[primary.key], n) + (f"\n({between})" if between else "")
        apart = [row.cells.get(key) for key in ("angles", "classical_parameters")]
        parameters = " + ".join(count(cell.mean) for cell in apart if cell)
        verdict = verdict_of(found, table.task, row.method)
        cells = [write_mean(column, row.cells[column.key], n) for column in costs]
        words = Text(verdict, style=_TONES.get(verdict, "dim"))
        view.add_row(
            Text(broken(row.method)),
            Text(row.seeds_text),
            Text(quality),
            words,
            *map(Text, (parameters, *cells)),
        )
    lines = [
        Text(f"failed: {run.method} seed {run.seed}: {run.reason} ({run.log})", style="red", overflow="fold")
        for row in table.rows
        for run in row.failed
    ]
    check = next((check for check in found.checks if check.task == table.task), None)
    if check is not None and check.ranks is False:
        lines.append(Text(f"This task ranks nothing: {check.reason}", style="yellow"))
    return [view, *lines, Text("")]
