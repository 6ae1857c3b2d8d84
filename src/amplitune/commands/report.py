"""The commands about the results of a study."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amplitune.commands.options import AsJson
from amplitune.errors import ConfigError
from amplitune.study.results import Results, load_results, write_results

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
                    f"`{option}` belongs to an export, but none is asked for. Add --export markdown, latex, csv "
                    "or comparisons; the report itself is written to DIR/report.html."
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
