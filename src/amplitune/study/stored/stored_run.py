"""One run as its folder holds it: status, measurements, loss curve and predictions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def read_status(folder: Path) -> dict[str, Any] | None:
    """Read how a run ended.

    Args:
        folder: the run's folder.

    Returns:
        The content of status.json; None if the run has not ended. A file that is not JSON is a failed run.
    """
    path = folder / "status.json"
    if not path.is_file():
        return None
    status = read_object(path)
    if status is None:
        return {"status": "failed", "reason": "status.json is not JSON"}
    return status if status.get("status") in ("done", "failed") else None


def read_object(path: Path) -> dict[str, Any] | None:
    """Read the object in a JSON file; None if the file is absent or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file; a line that a killed process left half-written is skipped."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def read_command(folder: Path) -> str | None:
    """Read the command that reproduces a run; None if none was written."""
    path = folder / "command.txt"
    return (path.read_text(encoding="utf-8", errors="replace").strip() or None) if path.is_file() else None


def read_task(folder: Path) -> dict[str, Any]:
    """Read the task of a run from run.resolved.yaml; empty if it is not there."""
    try:
        spec = yaml.safe_load((folder / "run.resolved.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    task = spec.get("task") if isinstance(spec, dict) else None
    return task if isinstance(task, dict) else {}


def measurements(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Collect what was measured after training; of an event written twice the later one counts.

    Example:
        >>> measurements([{"event": "train", "loss": 2.0}, {"event": "test", "bleu": 31.0}])
        {'bleu': 31.0}
    """
    measured: dict[str, Any] = {}
    for event in events:
        if event.get("event") in ("test", "efficiency"):
            measured |= event
    measured.pop("event", None)
    return measured


def curve_point(event: dict[str, Any]) -> dict[str, Any] | None:
    """Turn a logged loss into a point of a curve; None for any other event.

    Example:
        >>> curve_point({"event": "eval", "step": 20, "eval_loss": 1.9, "tokens": 640, "seconds": 2.5})
        {'split': 'validation', 'step': 20, 'tokens': 640, 'seconds': 2.5, 'loss': 1.9, 'grad_norm': None}
    """
    names = {"train": ("train", "loss"), "eval": ("validation", "eval_loss")}.get(str(event.get("event")))
    if names is None or event.get(names[1]) is None or event.get("step") is None:
        return None
    numbers = {key: event.get(key) for key in ("step", "tokens", "seconds")}
    return {"split": names[0], **numbers, "loss": event[names[1]], "grad_norm": event.get("grad_norm")}


def prediction(line: dict[str, Any]) -> dict[str, Any]:
    """Bring a prediction to one form: a classified text is a prompt whose only reference is its label.

    Example:
        >>> prediction({"id": 0, "text": "a delight", "label": "positive", "prediction": "negative"})
        {'id': 0, 'prompt': 'a delight', 'prediction': 'negative', 'references': ['positive'], 'sums': {}}
    """
    references = line.get("references") if "references" in line else [line.get("label")]
    return {
        "id": line.get("id"),
        "prompt": line.get("prompt", line.get("text")),
        "prediction": line.get("prediction"),
        "references": [str(reference) for reference in references or () if reference is not None],
        "sums": sums if isinstance(sums := line.get("sums"), dict) else {},
    }
