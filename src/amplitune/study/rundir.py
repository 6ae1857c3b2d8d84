"""The folder of one run: written under a temporary name and renamed when it is complete."""

import json
import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amplitune.errors import ConfigError
from amplitune.study.atomic import PARTIAL, write_atomically
from amplitune.study.config import RunSpec
from amplitune.study.stored_run import read_object
from amplitune.study.study_file import to_yaml


def partial_folder(directory: Path, spec: RunSpec) -> Path:
    """Where a run writes until it is complete."""
    folder = directory / spec.folder
    return folder.with_name(folder.name + PARTIAL)


class RunDirectory:
    """The files of one run (design: DIR/runs/<task>/<method>/seed-<n>/).

    Args:
        directory: the study's folder.
        spec: the run.
        study_file: the study's YAML, for the command that is kept.
        overrides: what was set over that file, for the same.
        adopt: keep the files that a process which died has left, instead of beginning again.

    Raises:
        ConfigError: the run is there already; nothing is overwritten.
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
        if self.final.exists():
            raise ConfigError(
                f"The run {self.final} must be new, but is there already. "
                "Choose another output folder with -o, or move that folder away."
            )
        self.path = partial_folder(directory, spec)
        if self.path.exists() and not adopt:
            # What a killed run left: incomplete, and about to be made again from the same seed.
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.write("run.resolved.yaml", to_yaml(spec))
        if not (self.path / "command.txt").exists():
            self.write("command.txt", shlex.join(_command(spec, study_file, overrides)) + "\n")

    def write(self, name: str, content: str | Mapping[str, Any]) -> None:
        """Write one file: text as it is, a mapping as JSON."""
        text = content if isinstance(content, str) else json.dumps(_finite(content), indent=2) + "\n"
        (self.path / name).write_text(text, encoding="utf-8")

    def append(self, name: str, event: Mapping[str, Any]) -> None:
        """Append one line of JSON and flush it, so that progress can be followed."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(event), ensure_ascii=False) + "\n")

    def progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Say how far the run is, for whoever watches the folder."""
        write_atomically(
            self.path / "progress.json", json.dumps({"phase": phase, "done": done, "total": total})
        )

    def complete(self, status: Mapping[str, Any]) -> None:
        """Write the status and give the folder its final name."""
        for left in (self.path / "progress.json", *self.path.glob(f"*{PARTIAL}-*")):
            left.unlink(missing_ok=True)
        self.write("status.json", status)
        self.path.rename(self.final)


def read_progress(folder: Path) -> dict[str, Any]:
    """What a run's folder last said of its progress; empty where it says nothing yet."""
    return read_object(folder / "progress.json") or {}


def _command(spec: RunSpec, study_file: Path, overrides: Sequence[str]) -> list[str]:
    """The command that does the run again, into another folder."""
    command = ["amplitune", "train", str(study_file), *overrides, "--task", spec.task.name]
    return [*command, "--method", spec.method.name, "--seed", str(spec.seed), "-o", "reproduced"]


def _finite(value: Any) -> Any:
    """Blank numbers that JSON does not have: NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
