"""Every run and every trial as a line: status, quality, reason, command, environment."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from amplitune.report.columns import METRICS
from amplitune.report.trial_scores import rate_text
from amplitune.report.units import duration, significant
from amplitune.study.stored.provenance import Provenance
from amplitune.study.stored.results import Results


@dataclass(frozen=True)
class RunLine:
    """One run in the list of all runs; `odd` says that it was made in another environment than most."""

    task: str
    method: str
    seed: int
    status: str
    reason: str | None
    quality: str
    value: float | None
    took: str
    seconds: float | None
    environment: str | None
    odd: bool
    command: str | None

    @property
    def row(self) -> str:
        """What `amplitune reproduce DIR ROW` calls it."""
        return f"{self.task}/{self.method}/seed-{self.seed}"


@dataclass(frozen=True)
class TrialLine:
    """One trial of tuning in the list of all trials."""

    task: str
    method: str
    trial: int
    status: str
    reason: str | None
    settings: str
    score: str
    value: float | None
    loss: str
    took: str
    chosen: bool
    edge: str


@dataclass(frozen=True)
class Chosen:
    """What tuning chose for a method on a task, and from how many trials."""

    method: str
    settings: str
    score: str
    value: float | None
    trials: str
    edge: str


def run_lines(results: Results, origin: Provenance) -> list[RunLine]:
    """List every run that has ended, in the order of the results."""
    lines = []
    for row in results.table.to_dict("records"):
        metric = METRICS.get(str(row["primary_metric"]))
        quality = metric.write(row["primary_value"]) if metric and pd.notna(row["primary_value"]) else ""
        lines.append(
            RunLine(
                task=row["task"],
                method=row["method"],
                seed=int(row["seed"]),
                status=row["status"],
                reason=row["reason"],
                quality=f"{metric.label} {quality}" if metric and quality else "",
                value=_number(row["primary_value"]),
                took=duration(row["seconds"]),
                seconds=_number(row["seconds"]),
                environment=row["environment"],
                odd=row["environment"] in origin.odd,
                command=row["command"],
            )
        )
    return lines


def trial_lines(trials: pd.DataFrame, metrics: dict[str, str]) -> list[TrialLine]:
    """List every trial.

    Args:
        trials: the trials of the study.
        metrics: task -> its primary metric, in whose digits a score is written.
    """
    return [
        TrialLine(
            task=row["task"],
            method=row["method"],
            trial=int(row["trial"]),
            status=row["status"],
            reason=row["reason"],
            settings=settings_text(row["settings"]),
            score=_score(row["score"], metrics.get(row["task"], "")),
            value=_number(row["score"]),
            loss=significant(row["loss"]),
            took=duration(row["seconds"]),
            chosen=bool(row["chosen"]),
            edge=row["edge"] or "",
        )
        for row in trials.to_dict("records")
    ]


def chosen_settings(trials: pd.DataFrame, metric: str, order: list[str]) -> list[Chosen]:
    """List what was chosen for each method of one task; a method whose trials chose nothing has blanks."""
    rows = []
    for method in sorted(
        set(trials["method"]), key=lambda name: order.index(name) if name in order else len(order)
    ):
        own = trials[trials["method"] == method]
        done = int((own["status"] == "done").sum())
        counted = str(done) if done == len(own) else f"{done} of {len(own)}"
        best: dict[str, Any] = next(iter(own[own["chosen"].astype(bool)].to_dict("records")), {})
        score = best.get("score", float("nan"))
        rows.append(
            Chosen(
                method,
                settings_text(best.get("settings")),
                _score(score, metric),
                _number(score),
                counted,
                best.get("edge") or "",
            )
        )
    return rows


def settings_text(settings: object) -> str:
    """Write settings: "learning_rate 1e-3, config.r 8".

    Example:
        >>> settings_text({"learning_rate": 0.001, "config.r": 8, "training.weight_decay": 0.05})
        'learning_rate 1e-3, config.r 8, training.weight_decay 0.05'
    """
    if not isinstance(settings, dict):
        return ""
    return ", ".join(f"{key} {_setting(key, value)}" for key, value in settings.items())


def _setting(key: str, value: Any) -> str:
    if isinstance(value, float):
        return rate_text(value) if key.endswith("learning_rate") and value > 0 else f"{value:.4g}"
    return str(value)


def _score(value: float, metric: str) -> str:
    if not math.isfinite(value):
        return ""
    return METRICS[metric].write(value) if metric in METRICS else significant(value)


def _number(value: Any) -> float | None:
    return float(value) if pd.notna(value) else None
