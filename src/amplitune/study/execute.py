"""Executing the runs of a study that are missing, each in a process of its own."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from amplitune.errors import ConfigError
from amplitune.study.atomic import write_atomically
from amplitune.study.config import RunSpec, StudyConfig
from amplitune.study.progress import Progress
from amplitune.study.rundir import RunDirectory, partial_folder, read_progress
from amplitune.study.stored_run import read_status
from amplitune.study.study_file import to_yaml

RESOLVED = "study.resolved.yaml"
"""The study's configuration with every default written out, in the study's folder."""

POLL_SECONDS = 0.2


@dataclass
class _Running:
    """A run in flight."""

    spec: RunSpec
    process: subprocess.Popen[bytes]
    log: Path
    began: float


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
        if not folder.exists() or (retry_failed and _failure(folder) is not None):
            missing.append(spec)
        else:
            _check_same(spec, folder)
    return missing


def execute(study: StudyConfig, directory: Path, progress: Progress, retry_failed: bool = False) -> None:
    """Run what is missing; a failed run becomes a row with its reason and the rest goes on.

    Args:
        study: the study.
        directory: its folder.
        progress: is told of each run.
        retry_failed: run failed runs again; the old folder is kept as `seed-<n>.failed-<k>`.

    Raises:
        ConfigError: another process works in the folder, or it holds other runs under the same names.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"`--output` must be a folder that can be made, but {directory} cannot: {error.strerror}. "
            "Name another one."
        ) from error
    with _lock(directory):
        missing = plan(study, directory, retry_failed)
        write_atomically(directory / RESOLVED, to_yaml(study))
        progress.begin([spec.label for spec in missing], len(study.runs()) - len(missing))
        waiting = list(reversed(missing))
        running: list[_Running] = []
        try:
            while waiting or running:
                while waiting and len(running) < study.workers:
                    spec = waiting.pop()
                    running.append(_start(spec, directory))
                    progress.started(spec.label)
                time.sleep(POLL_SECONDS)
                for run in list(running):
                    if run.process.poll() is None:
                        progress.update(run.spec.label, read_progress(partial_folder(directory, run.spec)))
                        continue
                    running.remove(run)
                    reason = _finish(run, directory)
                    progress.finished(run.spec.label, time.monotonic() - run.began, reason)
        finally:
            for run in running:
                run.process.terminate()
            for run in running:
                run.process.wait()
                if (directory / run.spec.folder).exists():
                    _finish(run, directory)
            progress.end()


def train_command(spec: RunSpec, directory: Path) -> list[str]:
    """The command of a run's own process."""
    command = [sys.executable, "-m", "amplitune", "train", str(directory / RESOLVED)]
    command += ["--task", spec.task.name, "--method", spec.method.name, "--seed", str(spec.seed)]
    return [*command, "-o", str(directory), "--supervised"]


def _start(spec: RunSpec, directory: Path) -> _Running:
    """Start `amplitune train` for one run; what it prints goes to a log beside its folder."""
    final = directory / spec.folder
    if final.exists():
        _set_aside(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    log = final.with_name(final.name + ".log")
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    if spec.threads is not None:
        environment["OMP_NUM_THREADS"] = str(spec.threads)
    with log.open("wb") as output:
        process = subprocess.Popen(
            train_command(spec, directory),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            env=environment,
        )
    return _Running(spec, process, log, time.monotonic())


def _finish(run: _Running, directory: Path) -> str | None:
    """Put the log into the run's folder; give a run whose process died without a word a status.

    Returns:
        Why the run failed, or None.
    """
    final = directory / run.spec.folder
    if run.process.stdin is not None:
        run.process.stdin.close()
    if not final.exists():
        code = run.process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (SIGKILL is what the kernel sends when memory runs out)" if code == -signal.SIGKILL else ""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        reason = f"The run's process {how}{hint}. {_last_words(run.log)}".strip()
        folder = RunDirectory(directory, run.spec, directory / RESOLVED, adopt=True)
        seconds = time.monotonic() - run.began
        folder.complete({"status": "failed", "reason": reason, "finished": now, "seconds": seconds})
    run.log.replace(final / "log.txt")
    return _failure(final)


def _last_words(log: Path) -> str:
    """The error message at the end of a log, or its last line."""
    text = log.read_text(encoding="utf-8", errors="replace").strip()
    _, error, message = f"\n{text}".rpartition("\nerror: ")
    words = message if error else text.rpartition("\n")[2]
    return f"It last printed: {words.strip()}" if words else ""


def _set_aside(folder: Path) -> None:
    """Keep a failed run's folder under another name before it is run again."""
    attempt = 1
    while (aside := folder.with_name(f"{folder.name}.failed-{attempt}")).exists():
        attempt += 1
    folder.rename(aside)


def _failure(folder: Path) -> str | None:
    """Why a stored run failed; None if it did not."""
    status = read_status(folder) or {"status": "failed", "reason": "status.json is missing"}
    return None if status["status"] == "done" else str(status.get("reason"))


def _check_same(spec: RunSpec, folder: Path) -> None:
    """Refuse to take a stored run for one with other settings."""
    try:
        stored = yaml.safe_load((folder / "run.resolved.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{folder} must be a run's folder, but its run.resolved.yaml cannot be read: {error}. "
            "Move that folder away."
        ) from error
    wanted = spec.model_dump(mode="json")
    changed = [
        path
        for path in _differences(stored, wanted)
        if path.partition(".")[0] not in {"save_adapters", "threads"}
    ]
    if changed:
        raise ConfigError(
            f"{folder} holds a run with other settings than the study asks for: "
            f"`{'`, `'.join(changed)}` differ. "
            "Choose another output folder with -o, or put the settings back."
        )


def _differences(stored: object, wanted: object, path: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*wanted, *stored]):
            yield from _differences(stored.get(key), wanted.get(key), f"{path}.{key}" if path else key)
    elif stored != wanted:
        yield path


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Hold the study's folder for this process."""
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"The output folder {directory} must be used by one `amplitune compare` at a time, "
                "but another one is working in it. Wait for it, or choose another folder with -o."
            ) from None
        yield
