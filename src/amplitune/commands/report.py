"""The commands about the results of a study."""

import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from amplitune.commands.options import FAILED, AsJson
from amplitune.errors import ConfigError
from amplitune.study.stored.results import Results, load_results, write_results

if TYPE_CHECKING:
    from amplitune.study.stored.provenance import Difference
    from amplitune.study.stored.reproduce import Reproduction

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="the folder that compare wrote")]


def report(
    directory: Directory,
    as_json: AsJson = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="FORM",
            help="instead, print the report as markdown or latex, its numbers as csv, or its comparisons",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="file for the export, not standard output", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace whatever that file holds")] = False,
) -> None:
    """Write the table and the report again, from stored results only."""
    if form is None:
        for option, given in (("--output", output is not None), ("--force", force)):
            if given:
                raise ConfigError(
                    f"`{option}` belongs to an export, but none is asked for. Add --export markdown, latex, "
                    "csv or comparisons; the report itself is written to DIR/report.html."
                )
        finish(load_results(directory), directory, Console(stderr=True), as_json)
        return
    if as_json:
        raise ConfigError("`--json` and `--export` are two forms, but one is printed. Leave one of them out.")
    from amplitune.report.export import export, write_export
    from amplitune.study.statistics.findings import findings

    results = load_results(directory)
    text = export(results, findings(results), form)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_export(text, form, output, force)


def finish(results: Results, directory: Path, console: Console, as_json: bool) -> None:
    """Write results.parquet and report.html, and show the table."""
    from amplitune.report import build_report, terminal_table
    from amplitune.study.statistics.findings import findings

    found = findings(results)
    write_results(results, directory)
    build_report(results, directory / "report.html", found)
    if as_json:
        rows = json.loads(results.table.to_json(orient="records", double_precision=15))
        typer.echo(json.dumps(rows, indent=2))
    else:
        Console().print(terminal_table(results, found))
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True)


def reproduce(
    directory: Directory,
    row: Annotated[
        str, typer.Argument(metavar="ROW", help="TASK/METHOD/seed-N, as in the report's list of runs")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="folder to keep the new run in; removed if left out", show_default=False
        ),
    ] = None,
) -> None:
    """Do one run of a study again and say whether its numbers come back; the study is not changed."""
    from amplitune.study.stored.reproduce import differences_here, find_row
    from amplitune.study.stored.reproduce import reproduce as again

    stored = find_row(directory, row)
    for line in _environment_lines(*differences_here(stored)):
        typer.echo(line)
    # The trainer prints its progress, which is no data.
    with tempfile.TemporaryDirectory(prefix="amplitune-") as scratch, contextlib.redirect_stdout(sys.stderr):
        found = again(stored, Path(scratch) if output is None else output)
    for line in _outcome_lines(found):
        typer.echo(line)
    if not found.holds:
        raise typer.Exit(FAILED)


def _environment_lines(differ: "Sequence[Difference]", dirty: bool) -> list[str]:
    """What is not as it was when the row was made."""
    lines = [f"Environment: {one.text}" for one in differ] or ["Environment: as it was"]
    if dirty:
        lines.append("Environment: code with changes that no commit holds, so equal commits may differ")
    return lines


def _outcome_lines(found: "Reproduction") -> list[str]:
    """A line for every number, and one for all."""
    row = found.row
    if not found.same_ending:
        before, now = (
            f"{end['status']} ({end.get('reason') or 'no error'})" for end in (row.status, found.status)
        )
        return [f"{row.name} ended otherwise. Stored: {before}. Again: {now}."]
    if found.status["status"] == "failed":
        return [f"{row.name} failed again, with the same reason: {found.status.get('reason')}"]
    words = {"within": "within its interval", "outside": "OUTSIDE its interval", "unknown": "changed"}
    lines = []
    for one in found.outcomes:
        new = "missing" if one.again is None else f"{one.again:.10g}"
        ends = f" [{one.low:.6g}, {one.high:.6g}]" if one.low is not None and one.high is not None else ""
        answer = words.get(one.answer, one.answer)
        lines.append(f"{one.metric}: {one.stored:.10g} stored, {new} again, {answer}{ends}")
    if found.identical:
        return [*lines, f"{row.name} is identical."]
    if found.holds:
        return [*lines, f"{row.name} is not identical, but within its interval."]
    if any(one.answer == "outside" for one in found.outcomes):
        return [*lines, f"{row.name} is outside its interval."]
    return [*lines, f"{row.name} has changed, and with one seed there is no interval to judge that by."]
