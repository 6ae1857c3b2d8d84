"""The command that tunes one method of a study on one task."""

import contextlib
import json
import sys
from pathlib import Path

import typer

from amplitune.commands.options import MethodName, Output, Overrides, StudyFile, Supervised, TaskName
from amplitune.commands.study import find_run
from amplitune.study.execution.supervision import end_with_parent
from amplitune.study.settings.study_file import load_study


def tune(
    study_file: StudyFile,
    overrides: Overrides = None,
    method: MethodName = "",
    task: TaskName = None,
    output: Output = None,
    supervised: Supervised = False,
) -> None:
    """Choose the settings of a method on a task by trials on the validation split, in this process."""
    if supervised:
        end_with_parent()
    from amplitune.study.tuning.job import tune as tune_method

    study = load_study(study_file, overrides or ())
    spec = find_run(study, task, method, None)
    # The trainer prints its losses; standard output is for what was chosen.
    with contextlib.redirect_stdout(sys.stderr):
        chosen = tune_method(
            study,
            spec.task.name,
            spec.method.name,
            output or Path("results") / study_file.stem,
            study_file,
            overrides or (),
            say=lambda line: typer.echo(line, err=True),
        )
    if chosen:
        typer.echo(json.dumps({key: chosen[key] for key in ("settings", "trial", "score", "loss", "edge")}))
