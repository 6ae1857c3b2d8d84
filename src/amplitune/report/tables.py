"""Tables of methods, one per task, as text: how a cell is written and the tables for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from amplitune.report.aggregate import (
    METRICS,
    Column,
    Spread,
    TaskTable,
    seeds_note,
    task_tables,
)
from amplitune.report.units import count
from amplitune.study.results import LOWER_IS_BETTER, Results

LEGEND = "Means over seeds (minimum–maximum)."


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


def terminal_table(results: Results) -> Table:
    """Lay the tables of methods out for a terminal of 80 columns.

    Args:
        results: what `amplitune.study.results.load_results` returned.

    Returns:
        A grid with one table per task: quality on the task's primary metric, trainable parameters (angles and
        classical weights apart) and cost; each failed run is a line with its reason.
    """
    grid = Table.grid()
    tables = task_tables(results)
    if not tables:
        grid.add_row(Text("No run has ended yet."))
    for table in tables:
        grid.add_row(Group(*_terminal_task(table)))
    if tables:
        grid.add_row(Text(f"{LEGEND} {seeds_note(results)}", style="dim"))
    return grid


def _terminal_task(table: TaskTable) -> list[Table | Text]:
    columns = {column.key: column for column in table.columns}
    primary = table.columns[0] if table.columns and table.columns[0].key in METRICS else None
    arrow = "" if primary is None else (" ↓" if primary.key in LOWER_IS_BETTER else " ↑")
    view = Table(title=Text(table.task, style="bold"), title_justify="left", box=None, pad_edge=False)
    view.add_column("method", overflow="fold")
    # Only the names may wrap: a number cut short is a wrong number.
    for header in ("seeds", f"{primary.label if primary else 'quality'}{arrow}", "angles +\nweights"):
        view.add_column(header, justify="right", no_wrap=True)
    keys = ("adapter_bytes", "peak_memory_bytes", "step_seconds", "generation_tokens_per_second")
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
        cells = [write_mean(column, row.cells[column.key], n) for column in costs]
        view.add_row(*(Text(cell) for cell in (row.method, row.seeds_text, quality, parameters, *cells)))
    failures = [failure for row in table.rows for failure in row.failed]
    lines = [
        Text(f"failed: {run.method} seed {run.seed}: {run.reason} ({run.log})", style="red", overflow="fold")
        for run in failures
    ]
    return [view, *lines, Text("")]
