"""The command that tunes one method of a study on one task."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from amplitune.commands.options import Output, Overrides
from amplitune.errors import check_choice
from amplitune.study.execution.supervision import end_with_parent
from amplitune.study.settings.study_file import load_study


def tune(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="the study")],
    overrides: Overrides = None,
    method: Annotated[str, typer.Option(help="the method's name in the study")] = "",
    task: Annotated[
        str | None, typer.Option(help="the task's name; may be left out if there is one task")
    ] = None,
    output: Output = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Choose the settings of a method on a task by trials on the validation split, in this process."""
    if supervised:
        end_with_parent()
    from amplitune.study.tuning.job import tune as tune_method

    study = load_study(study_file, overrides or ())
    tasks = [entry.name for entry in study.tasks]
    name = tasks[0] if task is None and len(tasks) == 1 else task
    check_choice("--task", name, tasks)
    check_choice("--method", method, [entry.name for entry in study.methods])
    # The trainer prints its losses; standard output is for what was chosen.
    with contextlib.redirect_stdout(sys.stderr):
        chosen = tune_method(
            study,
            str(name),
            method,
            output or Path("results") / study_file.stem,
            study_file,
            overrides or (),
            say=lambda line: typer.echo(line, err=True),
        )
    if chosen:
        typer.echo(json.dumps({key: chosen[key] for key in ("settings", "trial", "score", "loss", "edge")}))
