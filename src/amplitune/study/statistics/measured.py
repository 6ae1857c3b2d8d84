"""The primary metric of a task by method and seed, with its sums example by example."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from amplitune.study.metrics import METRICS
from amplitune.study.metrics.sums import Array
from amplitune.study.statistics.bootstrap import replicates
from amplitune.study.stored.results import Results

_AGREES = 1e-6


@dataclass
class Measured:
    """The primary metric of all finished runs of a task.

    Args:
        task: the task.
        metric: its primary metric.
        higher_is_better: whether a larger value is the better one.
        values: method -> seed -> the stored value, finite.
        sums: (method, seed) -> statistics of each test example (shape (examples, statistics)); of the runs in
            `values`, those whose predictions hold them and cover the same examples as the others.
        doubtful: the runs whose stored value does not follow from their predictions.
    """

    task: str
    metric: str
    higher_is_better: bool
    values: dict[str, dict[int, float]]
    sums: dict[tuple[str, int], Array]
    doubtful: list[tuple[str, int]]
    _resampled: dict[tuple[str, int], Array] = field(default_factory=dict)

    @property
    def examples(self) -> int:
        """How many test examples the sums are of; 0 without any."""
        return next((len(rows) for rows in self.sums.values()), 0)

    def resampled(self, method: str, seed: int) -> Array:
        """The run's metric on resampled test splits, the same ones for all runs (shape (B,))."""
        if not self._resampled:
            values = replicates(list(self.sums.values()), METRICS[self.metric].from_sums)
            self._resampled.update(zip(self.sums, values.T, strict=True))
        return self._resampled[method, seed]


def measured_tasks(results: Results) -> list[Measured]:
    """Collect the finished runs of every task whose primary metric is known.

    Args:
        results: what `load_results` returned.

    Returns:
        One entry per task with a finished run, in the order of the results.
    """
    done = results.table[(results.table["status"] == "done") & np.isfinite(results.table["primary_value"])]
    lines = {
        key: group
        for key, group in results.predictions.groupby(["task", "method", "seed"], sort=False)
        if "sums" in group
    }
    return [
        _measured(str(task), runs, lines)
        for task, runs in done.groupby("task", sort=False)
        if runs["primary_metric"].iloc[0] in METRICS
    ]


def _measured(task: str, runs: pd.DataFrame, lines: Mapping[Any, pd.DataFrame]) -> Measured:
    metric = str(runs["primary_metric"].iloc[0])
    values: dict[str, dict[int, float]] = {}
    by_example: dict[tuple[str, int], dict[Any, list[float]]] = {}
    for method, seed, value in zip(runs["method"], runs["seed"], runs["primary_value"], strict=True):
        values.setdefault(str(method), {})[int(seed)] = float(value)
        predictions = lines.get((task, method, seed))
        if predictions is not None:
            by_example[str(method), int(seed)] = {
                example: sums[metric]
                for example, sums in zip(predictions["id"], predictions["sums"], strict=True)
                if isinstance(sums, Mapping) and metric in sums
            }
    sums = _aligned(by_example)
    doubtful = [
        (method, seed)
        for (method, seed), rows in sums.items()
        if not _follows(values[method][seed], METRICS[metric].from_sums(rows.sum(axis=0), len(rows)))
    ]
    return Measured(task, metric, METRICS[metric].higher_is_better, values, sums, doubtful)


def _follows(stored: float, computed: Array) -> bool:
    return bool(np.isclose(stored, float(computed), rtol=_AGREES, atol=_AGREES))


def _aligned(by_example: dict[tuple[str, int], dict[Any, list[float]]]) -> dict[tuple[str, int], Array]:
    """Bring the runs' examples into one order, leaving out the runs that have others than most."""
    sets = [frozenset(rows) for rows in by_example.values() if rows]
    if not sets:
        return {}
    usual = max(sets, key=sets.count)
    order = next(list(rows) for rows in by_example.values() if frozenset(rows) == usual)
    aligned = {
        run: np.array([rows[example] for example in order], dtype=float)
        for run, rows in by_example.items()
        if frozenset(rows) == usual
    }
    width = max(rows.shape[-1] for rows in aligned.values())
    return {run: rows for run, rows in aligned.items() if rows.ndim == 2 and rows.shape[-1] == width}
