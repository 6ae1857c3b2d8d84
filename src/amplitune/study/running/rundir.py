"""The folder of one run: written under a temporary name and renamed when it is complete."""

import math
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amplitune.errors import ConfigError
from amplitune.study.atomic import PARTIAL, write_atomically
from amplitune.study.running.checkpoints import FOLDER as CHECKPOINTS
from amplitune.study.running.checkpoints import newest
from amplitune.study.running.environment import describe_environment
from amplitune.study.running.locks import Lock
from amplitune.study.running.run_files import RunFiles, line
from amplitune.study.settings.config import RunSpec
from amplitune.study.settings.same_settings import differing_settings
from amplitune.study.settings.study_file import to_yaml
from amplitune.study.stored.stored_run import read_lines, read_object

SAME_ENVIRONMENT = ("python", "packages", "amplitune_commit", "device", "cuda")
"""What must be as it was for a killed run to go on; otherwise it begins again."""


def partial_folder(directory: Path, spec: RunSpec) -> Path:
    """Where a run writes until it is complete."""
    folder = directory / spec.folder
    return folder.with_name(folder.name + PARTIAL)


def lock_file(directory: Path, spec: RunSpec) -> Path:
    """What a process holds while it does a run; it is gone when the run is complete."""
    folder = directory / spec.folder
    return folder.with_name(f".{folder.name}.lock")


class RunDirectory(RunFiles):
    """The files of one run (design: DIR/runs/<task>/<method>/seed-<n>/), held by one process at a time.

    What a killed process has left is gone on from if it is of the same run and has a checkpoint; `checkpoint`
    is that one. Otherwise the run begins again.

    Args:
        directory: the study's folder.
        spec: the run.
        study_file: the study's YAML, for the command that is kept.
        overrides: what was set over that file, for the same.
        adopt: keep all files that a process which died has left, to complete the folder with its status.

    Raises:
        ConfigError: the run is there already, and nothing is overwritten; or another process is doing it.
    """

    def __init__(
        self,
        directory: Path,
        spec: RunSpec,
        study_file: Path,
        overrides: Sequence[str] = (),
        adopt: bool = False,
    ) -> None:
        self.final = directory / spec.folder
        super().__init__(partial_folder(directory, spec))
        self._check_new()
        self._lock = Lock(lock_file(directory, spec))
        if not self._lock.acquire(patience=0.5):
            raise ConfigError(
                f"The run {self.final} must be done by one process at a time, but another one is doing it. "
                "Wait for it, or choose another output folder with -o."
            )
        # The other process may have completed it since the first look.
        self._check_new()
        if self.path.exists() and not adopt:
            self._take_over(spec)
        self.path.mkdir(parents=True, exist_ok=True)
        if not (adopt and (self.path / "run.resolved.yaml").exists()):
            self.write("run.resolved.yaml", to_yaml(spec))
        if not (self.path / "command.txt").exists():
            self.write("command.txt", shlex.join(_command(spec, study_file, overrides)) + "\n")

    @property
    def lock_descriptor(self) -> int:
        """The open file that holds the lock, for processes that are to hold it too."""
        return self._lock.descriptor

    def _check_new(self) -> None:
        if self.final.exists():
            raise ConfigError(
                f"The run {self.final} must be new, but is there already. "
                "Choose another output folder with -o, or move that folder away."
            )

    def _take_over(self, spec: RunSpec) -> None:
        """Bring what a killed process left to its last checkpoint, or remove it."""
        checkpoint = newest(self.path)
        if checkpoint is None or not _same_run(self.path, spec):
            shutil.rmtree(self.path)
            return
        kept = {"run.resolved.yaml", "command.txt", "metrics.jsonl", CHECKPOINTS}
        for left in self.path.iterdir():
            if left.name not in kept:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        # What was logged after the checkpoint is logged again; what stands outside the steps too.
        events = [
            e for e in read_lines(self.path / "metrics.jsonl") if e.get("step", math.inf) <= checkpoint.step
        ]
        write_atomically(self.path / "metrics.jsonl", "".join(map(line, events)))
        self.checkpoint = checkpoint
        self.load_state_dict(checkpoint.kept["folder"])
        sys.stderr.write(f"going on from the checkpoint at step {checkpoint.step}\n")

    def complete(self, status: Mapping[str, Any]) -> None:
        """Write the status and give the folder its final name; a run that is complete needs no checkpoint."""
        try:
            shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)
            for left in (self.path / "progress.json", *self.path.glob(f"*{PARTIAL}-*")):
                left.unlink(missing_ok=True)
            self.write("status.json", status)
            self.path.rename(self.final)
        finally:
            self._lock.release(remove=self.final.exists())


def read_progress(folder: Path) -> dict[str, Any]:
    """What a run's folder last said of its progress; empty where it says nothing yet."""
    return read_object(folder / "progress.json") or {}


def _same_run(folder: Path, spec: RunSpec) -> bool:
    """Whether a folder left behind is of this run, with the packages and the device of this process."""
    try:
        differing = differing_settings(spec, folder)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    left, now = read_object(folder / "env.json") or {}, describe_environment()
    return not differing and all(left.get(key) == now[key] for key in SAME_ENVIRONMENT)


def _command(spec: RunSpec, study_file: Path, overrides: Sequence[str]) -> list[str]:
    """The command that does the run again, into another folder; a trial is one of all those of its method."""
    verb, seed = ("train", ["--seed", str(spec.seed)]) if spec.trial is None else ("tune", [])
    command = ["amplitune", verb, str(study_file), *overrides, "--task", spec.task.name]
    return [*command, "--method", spec.method.name, *seed, "-o", "reproduced"]
