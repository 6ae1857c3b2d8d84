"""The units of a study's execution: processes of which each does one run, or tunes one method on one task."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amplitune.study.running.rundir import lock_file, partial_folder
from amplitune.study.settings.config import RunSpec
from amplitune.study.tuning.chosen import spaces_of, tuning_folder
from amplitune.study.tuning.trials import CHOSEN

RESOLVED = "study.resolved.yaml"
"""The study's configuration with every default written out, in the study's folder."""


@dataclass(frozen=True)
class Unit:
    """A process of a study.

    Args:
        kind: "run" or "tuning", for messages.
        label: how progress calls it.
        command: what the process runs.
        complete: the path that exists once the unit is complete.
        working: the folder whose progress.json says how far it is.
        lock: the file that whoever does it holds.
        log: where it prints to.
        kept_log: where that goes when the unit is complete.
        runs: the runs that fail with it.
        needs: labels of the units that must have ended before.
    """

    kind: str
    label: str
    command: tuple[str, ...]
    complete: Path
    working: Path
    lock: Path
    log: Path
    kept_log: Path
    runs: tuple[RunSpec, ...]
    needs: tuple[str, ...] = ()


def units_of(missing: Sequence[RunSpec], directory: Path) -> list[Unit]:
    """What must be done for the missing runs of a study: first the tunings that they need, then they.

    Args:
        missing: the runs.
        directory: the study's folder.
    """
    tuned: dict[tuple[str, str], list[RunSpec]] = {}
    for spec in missing:
        if spaces_of(spec) and not chosen_file(spec, directory).exists():
            tuned.setdefault((spec.task.name, spec.method.name), []).append(spec)
    tunings = {pair: _tuning(specs, directory) for pair, specs in tuned.items()}
    runs = []
    for spec in missing:
        needed = tunings.get((spec.task.name, spec.method.name))
        runs.append(_run(spec, directory, () if needed is None else (needed.label,)))
    return [*tunings.values(), *runs]


def chosen_file(spec: RunSpec, directory: Path) -> Path:
    """Where the tuning of a run's method on its task keeps what it chose."""
    return tuning_folder(directory, spec.task.name, spec.method.name) / CHOSEN


def run_command(spec: RunSpec, directory: Path) -> tuple[str, ...]:
    """The command of a run's own process."""
    return _command("train", spec, directory, "--seed", str(spec.seed))


def tune_command(spec: RunSpec, directory: Path) -> tuple[str, ...]:
    """The command of the process that tunes a run's method on its task."""
    return _command("tune", spec, directory)


def _command(verb: str, spec: RunSpec, directory: Path, *options: str) -> tuple[str, ...]:
    study = str((directory / RESOLVED).absolute())
    which = ("--task", spec.task.name, "--method", spec.method.name, *options)
    start = (sys.executable, "-m", "amplitune", verb, study)
    return (*start, *which, "-o", str(directory.absolute()), "--supervised")


def _run(spec: RunSpec, directory: Path, needs: tuple[str, ...]) -> Unit:
    final = directory / spec.folder
    return Unit(
        kind="run",
        label=spec.label,
        command=run_command(spec, directory),
        complete=final,
        working=partial_folder(directory, spec),
        lock=lock_file(directory, spec),
        log=final.with_name(final.name + ".log"),
        kept_log=final / "log.txt",
        runs=(spec,),
        needs=needs,
    )


def _tuning(specs: Sequence[RunSpec], directory: Path) -> Unit:
    spec = specs[0]
    folder = tuning_folder(directory, spec.task.name, spec.method.name)
    return Unit(
        kind="tuning",
        label=f"{spec.task.name} / {spec.method.name} / tuning",
        command=tune_command(spec, directory),
        complete=folder / CHOSEN,
        working=folder,
        lock=folder / ".lock",
        log=folder / "log.txt",
        kept_log=folder / "log.txt",
        runs=tuple(specs),
    )
