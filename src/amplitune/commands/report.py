"""The commands about the results of a study."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amplitune.commands.options import AsJson
from amplitune.study.results import Results, load_results, write_results


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="the folder that compare wrote")],
    as_json: AsJson = False,
) -> None:
    """Write the table and the report again, from stored results only."""
    finish(load_results(directory), directory, Console(stderr=True), as_json)


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
