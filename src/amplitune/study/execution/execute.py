"""Executing what is missing of a study, each run in a process of its own."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from amplitune.errors import ConfigError, TrainingError
from amplitune.study.atomic import write_atomically
from amplitune.study.execution.executors.choice import executor_of
from amplitune.study.execution.progress import Progress
from amplitune.study.execution.schedule import Schedule, failure_of
from amplitune.study.execution.units import RESOLVED, chosen_file, units_of
from amplitune.study.running.distributed.processes import gpus_of_run
from amplitune.study.running.locks import Lock
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.settings.same_settings import differing_settings
from amplitune.study.settings.study_file import to_yaml
from amplitune.study.tuning.chosen import spaces_of, tuned


def plan(study: StudyConfig, directory: Path, retry_failed: bool = False) -> list[RunSpec]:
    """The runs of the study that its folder does not hold yet.

    Args:
        study: the study.
        directory: its folder; need not exist.
        retry_failed: count failed runs as missing, also those with other settings: these may be the remedy.

    Raises:
        ConfigError: the folder holds a run of that name with other settings.
    """
    missing = []
    for spec in study.runs():
        folder = directory / spec.folder
        if not folder.exists() or (retry_failed and failure_of(folder) is not None):
            missing.append(spec)
        else:
            _check_same(spec, directory)
    return missing


def execute(
    study: StudyConfig,
    directory: Path,
    progress: Progress,
    retry_failed: bool = False,
    tensor_bytes: Mapping[str, int] | None = None,
) -> None:
    """Run what is missing; a failed run becomes a row with its reason and the rest goes on.

    Args:
        study: the study.
        directory: its folder.
        progress: is told of each run.
        retry_failed: run failed runs again; the old folder is kept as `seed-<n>.failed-<k>`.
        tensor_bytes: label of a run -> the most bytes that its tensors are predicted to take.

    Raises:
        ConfigError: another process works in the folder, or it holds other runs under the same names.
        TrainingError: the folder takes no more, such as on a full disk. The next call goes on.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"`--output` must be a folder that can be made, but {directory} cannot: {error.strerror}. "
            "Name another one."
        ) from error
    try:
        with _lock(directory):
            missing = plan(study, directory, retry_failed)
            write_atomically(directory / RESOLVED, to_yaml(study))
            units = units_of(missing, directory)
            progress.begin([unit.label for unit in units], len(study.runs()) - len(missing))
            try:
                if units:
                    with contextlib.closing(executor_of(study, directory)) as executor:
                        Schedule(directory, executor, progress, gpus_of_run(study), tensor_bytes).run(units)
            finally:
                progress.end()
    except OSError as error:
        raise TrainingError(
            f"The study's folder {directory} must take what the runs write, but does not: {error}.\n"
            "Free some space, or look what is wrong there; the same command then goes on where it stopped."
        ) from error


def _check_same(spec: RunSpec, directory: Path) -> None:
    """Refuse to take a stored run for one with other settings."""
    folder = directory / spec.folder
    failed, untuned = failure_of(folder) is not None, bool(spaces_of(spec))
    if untuned and chosen_file(spec, directory).exists():
        spec, untuned = tuned(spec, directory), False
    if untuned and not failed:
        raise ConfigError(
            f"{folder} must be a run with tuned settings, but nothing of {spec.task.name} / "
            f"{spec.method.name} was tuned in {directory}.\n"
            "Choose another output folder with -o, or leave `tuning` unset."
        )
    try:
        changed = differing_settings(spec, folder)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{folder} must be a run's folder, but its run.resolved.yaml cannot be read: {error}. "
            "Move that folder away."
        ) from error
    if changed:
        again = " Or run it again with --retry-failed: it failed." if failed else ""
        raise ConfigError(
            f"{folder} holds a run with other settings than the study asks for: "
            f"`{'`, `'.join(changed)}` differ. "
            f"Choose another output folder with -o, or put the settings back.{again}"
        )


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Hold the study's folder for this process."""
    lock = Lock(directory / ".lock")
    if not lock.acquire():
        raise ConfigError(
            f"The output folder {directory} must be used by one `amplitune compare` at a time, "
            "but another one is working in it. Wait for it, or choose another folder with -o."
        )
    try:
        yield
    finally:
        lock.release()
