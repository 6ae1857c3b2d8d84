"""One trial of tuning as its folder holds it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from amplitune.study.stored.stored_run import read_lines, read_status


@dataclass(frozen=True)
class StoredTrial:
    """How a finished trial ended.

    Args:
        trial: its number, from 0.
        status: "done" or "failed".
        reason: why it failed.
        settings: what tuning set: `learning_rate`, `training.<key>` or `config.<key>` to value.
        learning_rate: its learning rate, tuned or not.
        score: the task's primary metric on the validation split; None where there is none.
        loss: its last validation loss; None where there is none.
        seconds: how long it took.
    """

    trial: int
    status: str
    reason: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    learning_rate: float | None = None
    score: float | None = None
    loss: float | None = None
    seconds: float | None = None


def read_trial(folder: Path, number: int, keys: Iterable[str]) -> StoredTrial | None:
    """Read the folder of a trial; None if the trial has not ended.

    Args:
        folder: DIR/tuning/<task>/<method>/trial-NNN.
        number: the trial's.
        keys: what was varied: `learning_rate`, `training.<key>` or `config.<key>`.
    """
    status = read_status(folder)
    if status is None:
        return None
    run = _read_yaml(folder / "run.resolved.yaml")
    metric = (run.get("task") or {}).get("primary_metric")
    scores: dict[str, Any] = {}
    loss = None
    for event in read_lines(folder / "metrics.jsonl"):
        if event.get("event") == "validation":
            scores = event
        elif event.get("event") == "eval":
            loss = event.get("eval_loss")
    return StoredTrial(
        trial=number,
        status=str(status["status"]),
        reason=None if status.get("reason") is None else str(status["reason"]),
        settings={key: _setting(run, key) for key in keys},
        learning_rate=_number((run.get("training") or {}).get("learning_rate")),
        score=_number(scores.get(str(metric))),
        loss=_number(loss),
        seconds=_number(status.get("seconds")),
    )


def _setting(run: dict[str, Any], key: str) -> Any:
    """The value of a setting in run.resolved.yaml."""
    part, _, name = key.rpartition(".")
    place = (run.get("method") or {}).get("config") if part == "config" else run.get("training")
    return (place or {}).get(name)


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}
