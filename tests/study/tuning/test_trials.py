"""The table of trials: its columns, what counts as a trial, and the one that was chosen."""

import json
from pathlib import Path
from typing import Any

import pytest

from amplitune.study.tuning.trials import TRIAL_COLUMNS, read_trials


def write_trial(
    folder: Path,
    number: int,
    score: float | None,
    settings: dict[str, Any],
    reason: str | None = None,
    name: str = "trial-{:03d}",
) -> None:
    path = folder / name.format(number)
    path.mkdir(parents=True)
    run = {
        "task": {"primary_metric": "rougeL"},
        "training": {"learning_rate": settings["learning_rate"], "max_steps": 2},
        "method": {"config": {"r": settings["config.r"], "lora_alpha": 16}},
    }
    (path / "run.resolved.yaml").write_text(json.dumps(run))
    events = [{"event": "eval", "step": 1, "eval_loss": 3.0}, {"event": "eval", "step": 2, "eval_loss": 2.5}]
    events += [{"event": "validation", "rougeL": score, "bleu": 1.0}] if score is not None else []
    (path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    status = {"status": "failed" if reason else "done", "reason": reason, "seconds": 1.5}
    (path / "status.json").write_text(json.dumps(status))


def test_every_finished_trial_is_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "tuning" / "summaries" / "lora"
    write_trial(folder, 0, 0.25, {"learning_rate": 0.001, "config.r": 8})
    write_trial(folder, 1, None, {"learning_rate": 0.1, "config.r": 8}, reason="TrainingError: not finite")
    write_trial(folder, 10, 0.5, {"learning_rate": 0.03, "config.r": 32})
    flight = {"learning_rate": 0.03, "config.r": 8}
    for name in ("trial-{:03d}.partial", "trial-{:03d}.failed-1"):
        write_trial(folder, 2, 0.9, flight, name=name)
    spaces = {"learning_rate": [0.001, 0.03, 0.1], "config.r": [8, 32]}
    (folder / "tuning.json").write_text(json.dumps({"spaces": spaces}))
    (folder / "chosen.json").write_text(json.dumps({"trial": 10, "edge": ["learning_rate", "config.r"]}))
    write_trial(tmp_path / "tuning" / "labels" / "qaa", 0, 0.75, {"learning_rate": 0.01, "config.r": 8})

    trials = read_trials(tmp_path)

    assert tuple(trials.columns) == TRIAL_COLUMNS
    assert list(trials["method"]) == ["qaa", "lora", "lora", "lora"]
    assert list(trials["task"]) == ["labels", "summaries", "summaries", "summaries"]
    assert list(trials["trial"]) == [0, 0, 1, 10]
    assert list(trials["status"]) == ["done", "done", "failed", "done"]
    assert list(trials["reason"]) == [None, None, "TrainingError: not finite", None]
    assert list(trials["settings"])[3] == {"learning_rate": 0.03, "config.r": 32}
    assert list(trials["learning_rate"]) == [0.01, 0.001, 0.1, 0.03]
    assert trials["score"].to_list() == pytest.approx([0.75, 0.25, float("nan"), 0.5], nan_ok=True)
    assert list(trials["loss"]) == [2.5] * 4
    assert list(trials["chosen"]) == [False, False, False, True]
    assert list(trials["edge"]) == ["", "", "", "learning_rate, config.r"]
    assert list(trials["seconds"]) == [1.5] * 4


def test_a_study_that_does_not_tune_has_no_rows(tmp_path: Path) -> None:
    trials = read_trials(tmp_path)
    assert trials.empty
    assert tuple(trials.columns) == TRIAL_COLUMNS
    assert str(trials["score"].dtype) == "float64"
    assert str(trials["chosen"].dtype) == "bool"
