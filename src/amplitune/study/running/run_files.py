"""The files that a run writes while it is in flight."""

import json
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from amplitune.study.atomic import write_atomically
from amplitune.study.running.checkpoints import Checkpoint


class RunFiles:
    """What a run writes to its folder and how long it has taken.

    Args:
        path: the folder of the run in flight.
        writes: False for a process that only helps another with the run, and writes nothing.
        age: seconds that the run was in flight before this process began.
    """

    def __init__(self, path: Path, writes: bool = True, age: float = 0.0) -> None:
        self.path, self.writes = path, writes
        self.checkpoint: Checkpoint | None = None
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self._clock, self._seconds_before = time.monotonic() - age, 0.0

    @property
    def seconds(self) -> float:
        """Time that the run has taken so far, in all its parts."""
        return self._seconds_before + self.age

    @property
    def age(self) -> float:
        """Seconds since this part of the run began."""
        return time.monotonic() - self._clock

    def state_dict(self) -> dict[str, Any]:
        """The times so far, for a checkpoint."""
        return {"started": self.started, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.started, self._seconds_before = str(state["started"]), float(state["seconds"])

    def write(self, name: str, content: str | Mapping[str, Any]) -> None:
        """Write one file: text as it is, a mapping as JSON."""
        if not self.writes:
            return
        text = content if isinstance(content, str) else json.dumps(_finite(content), indent=2) + "\n"
        (self.path / name).write_text(text, encoding="utf-8")

    def append(self, name: str, event: Mapping[str, Any]) -> None:
        """Append one line of JSON and flush it, so that progress can be followed."""
        if not self.writes:
            return
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(line(event))

    def progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        """Say how far the run is, for whoever watches the folder."""
        if self.writes:
            say = {"phase": phase, "done": done, "total": total}
            write_atomically(self.path / "progress.json", json.dumps(say))


def line(event: Mapping[str, Any]) -> str:
    """An event as a line of JSON."""
    return json.dumps(_finite(event), ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    """Blank numbers that JSON does not have: NaN and infinities."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
