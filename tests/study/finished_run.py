"""Runs that tests do to their end, and the events that they keep."""

import json
from pathlib import Path
from typing import Any

from amplitune.study.running.run import run
from amplitune.study.settings.config import RunSpec

MEASURED = {
    *("seconds", "step_seconds", "train_seconds", "tokens_per_second", "generation_tokens_per_second"),
    "peak_memory_bytes",
}
"""What differs between two runs that are the same."""


def finish(spec: RunSpec, directory: Path) -> Path:
    """Do a run; gives its folder."""
    status = run(spec, directory, Path("study.yaml"))
    assert status["reason"] is None
    return directory / spec.folder


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(folder: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key not in MEASURED} for event in events(folder)]
