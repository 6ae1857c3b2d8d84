"""The commands that run studies."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from amplitune.commands.checks import show_plan, show_preview
from amplitune.commands.options import (
    FAILED,
    SOME_FAILED,
    AsJson,
    MethodName,
    Output,
    Overrides,
    Preview,
    StudyFile,
    Supervised,
    TaskName,
)
from amplitune.commands.report import finish
from amplitune.errors import ConfigError, near_matches
from amplitune.study.execution.supervision import end_with_parent
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.settings.study_file import load_study
from amplitune.study.stored.results import load_results

# Each command imports what it alone needs: a run of a study, a process of its own, waits for no matplotlib.

DEMO = Path(__file__).parents[1] / "study" / "demo.yaml"
"""The study on the bundled model and tasks."""

BUNDLED = DEMO.with_name("bundled.yaml")
"""The comparison on them: tuned, with controls, from five seeds."""


def compare(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY.yaml] [key=value ...]", help="the study, and settings that override it"
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="the bundled model and tasks instead of a study file")
    ] = False,
    bundled: Annotated[
        bool,
        typer.Option("--bundled", help="the same model and tasks, tuned, with controls, from five seeds"),
    ] = False,
    output: Output = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what the study will take, and run nothing")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="with --dry-run: time a few steps of each method")
    ] = True,
    preview: Preview = 0,
    executor: Annotated[
        str | None, typer.Option(help="local or ray, over the study's own", show_default=False)
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="run failed runs again (the old ones are kept aside)")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run what is missing of a study, then write its table and report."""
    path, overrides = _study_file(list(arguments or []), demo, bundled)
    if executor is not None:
        overrides.append(f"executor={executor}")
    study = load_study(path, overrides)
    if preview:
        show_preview(study, preview)
    if dry_run:
        show_plan(study, probe, as_json)
        return
    if preview:
        return
    from amplitune.study.execution.execute import execute
    from amplitune.study.execution.progress import Progress
    from amplitune.study.planning.plan import predicted_peaks
    from amplitune.study.planning.preflight import check_tasks

    directory = output or Path("results") / path.stem
    console = Console(stderr=True)
    study, checked = check_tasks(
        study, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
    )
    # Where runs share a machine, it must hold them together.
    shared = study.executor == "local" and study.workers > 1
    peaks = predicted_peaks(study, checked) if shared else {}
    execute(study, directory, Progress(console), retry_failed, peaks)
    results = load_results(directory)
    finish(results, directory, console, as_json)
    failed = int((results.table["status"] != "done").sum())
    if failed:
        console.print(
            f"{failed} run(s) failed; their reasons are in the table and their logs in {directory / 'runs'}. "
            "`amplitune compare ... --retry-failed` runs them again."
        )
        raise typer.Exit(SOME_FAILED)


def train(
    study_file: StudyFile,
    overrides: Overrides = None,
    method: MethodName = "",
    task: TaskName = None,
    seed: Annotated[int | None, typer.Option(help="the seed; the study's first if left out")] = None,
    output: Output = None,
    supervised: Supervised = False,
) -> None:
    """Run one run of a study in this process."""
    if supervised:
        end_with_parent()
    from amplitune.study.running.run import run
    from amplitune.study.tuning.chosen import tuned

    study = load_study(study_file, overrides or ())
    directory = output or Path("results") / study_file.stem
    spec = tuned(find_run(study, task, method, seed), directory)
    status = run(spec, directory, study_file, overrides or ())
    if status["status"] != "done":
        raise typer.Exit(FAILED)


def _study_file(words: list[str], demo: bool, bundled: bool) -> tuple[Path, list[str]]:
    """The study that is meant, and what is set over it."""
    if demo and bundled:
        raise ConfigError("`--demo` and `--bundled` are two studies, but one is run. Leave one of them out.")
    if demo or bundled:
        path = DEMO if demo else BUNDLED
        if words and "=" not in words[0]:
            raise ConfigError(
                f"`{words[0]}` must be an override, key=value, beside a bundled study. Leave the study file "
                "or the option out."
            )
        return path, words
    if words and "=" not in words[0]:
        return Path(words[0]), words[1:]
    raise ConfigError(
        "`STUDY.yaml` must be given, but is missing. Name a study file, or use --demo or --bundled."
    )


def find_run(study: StudyConfig, task: str | None, method: str, seed: int | None) -> RunSpec:
    """The run that the options name."""
    runs = study.runs()
    chosen = {
        "task": task if task is not None or len(study.tasks) > 1 else study.tasks[0].name,
        "method": method,
        "seed": study.seeds[0] if seed is None else seed,
    }
    valid: dict[str, list[str | int]] = {
        "task": [entry.name for entry in study.tasks],
        "method": [entry.name for entry in study.methods],
        "seed": list(study.seeds),
    }
    for option, value in chosen.items():
        if value not in valid[option]:
            given = f"is {value!r}" if value else "is missing"
            names = [str(name) for name in valid[option]]
            raise ConfigError(
                f"`--{option}` must be one of {', '.join(names)}, but {given}. "
                + (near_matches(str(value), names) if value else "Name one of these.")
            )
    return next(
        spec
        for spec in runs
        if (spec.task.name, spec.method.name, spec.seed) == (chosen["task"], chosen["method"], chosen["seed"])
    )
