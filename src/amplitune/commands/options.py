"""What the commands share: their exit codes and the options that mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

DONE, FAILED, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="folder of the study", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="print the results table as JSON on standard output")]
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value, with dots: training.max_steps=50")]
Preview = Annotated[
    int,
    typer.Option(
        min=0,
        help="show so many training examples of each task, decoded, with their loss mask, and run nothing",
    ),
]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="the study")]
MethodName = Annotated[str, typer.Option("--method", help="the method's name in the study")]
TaskName = Annotated[
    str | None, typer.Option("--task", help="the task's name; may be left out if there is one task")
]
Supervised = Annotated[bool, typer.Option(hidden=True)]
