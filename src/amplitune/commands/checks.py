"""The commands that check: a study before it runs, an installation before it is used."""

import json
from typing import Annotated

import typer
from rich.console import Console

from amplitune.commands.options import FAILED, Overrides, Preview, StudyFile
from amplitune.study.settings.config import StudyConfig

# Each command imports what it alone needs, as those of a study do.

AsData = Annotated[bool, typer.Option("--json", help="print the same as JSON on standard output")]


def validate(
    study_file: StudyFile,
    overrides: Overrides = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="time a few steps of each method, to say how long the study takes")
    ] = False,
    preview: Preview = 0,
    as_json: AsData = False,
) -> None:
    """Check everything that needs no weights, and say what the study will take; nothing is written."""
    from amplitune.study.settings.study_file import load_study

    study = load_study(study_file, overrides or ())
    if preview:
        show_preview(study, preview)
    show_plan(study, probe, as_json)


def show_preview(study: StudyConfig, count: int) -> None:
    """Print training examples of each task on standard error, beside which the plan may go as data."""
    from amplitune.study.data.preview import preview

    console = Console(stderr=True)
    styled = console.is_terminal
    typer.echo(preview(study, count, styled=styled), err=True)


def show_plan(study: StudyConfig, probe: bool, as_json: bool) -> None:
    """Print the plan of a study.

    Raises:
        ConfigError: something is wrong with it.
    """
    from amplitune.study.planning.plan import plan_study
    from amplitune.study.planning.plan_table import plan_tables

    errors = Console(stderr=True)
    plan = plan_study(
        study, lambda line: errors.print(line, markup=False, highlight=False, soft_wrap=True), probe
    )
    if as_json:
        typer.echo(json.dumps(plan.data(), indent=2))
        return
    console = Console()
    for part in plan_tables(plan):
        if isinstance(part, str):
            console.print(part, markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(part)


def doctor(
    network: Annotated[
        bool, typer.Option("--network", help="also ask whether the hub can be reached")
    ] = False,
    as_json: AsData = False,
) -> None:
    """Say what is installed, what is missing and what adds it."""
    from amplitune.study.planning.doctor import examine

    findings = examine(network)
    if as_json:
        typer.echo(json.dumps([finding.data() for finding in findings], indent=2))
    else:
        console = Console()
        for finding in findings:
            console.print(finding.line(), markup=False, highlight=False, soft_wrap=True)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(FAILED)
