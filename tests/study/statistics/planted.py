"""Studies with a known truth: planted differences, seed effects and example effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from amplitune.study.metrics import METRICS, label_sums
from amplitune.study.metrics.sums import Array, example_records
from amplitune.study.statistics.measured import Measured
from amplitune.study.stored.results import Results


@dataclass(frozen=True)
class Spread:
    """Standard deviations of what a method's scores vary by.

    Args:
        seeds: from seed to seed, the same on all examples.
        examples: from example to example in how a method does on it, the same for all seeds.
        both: from run to run on each example by itself.
        shared: from example to example, the same for all methods and seeds: it cancels in paired differences.
    """

    seeds: float = 0.0
    examples: float = 0.0
    both: float = 0.0
    shared: float = 1.0


def scores(
    rng: np.random.Generator, effects: Sequence[float], seeds: int, examples: int, spread: Spread
) -> Array:
    """Draw scores (shape (methods, seeds, examples)) whose expectation is each method's effect."""
    methods = len(effects)
    return (
        np.asarray(effects, dtype=float)[:, None, None]
        + spread.seeds * rng.normal(size=(methods, seeds, 1))
        + spread.examples * rng.normal(size=(methods, 1, examples))
        + spread.both * rng.normal(size=(methods, seeds, examples))
        + spread.shared * rng.normal(size=(1, 1, examples))
    )


def sums_of(metric: str, drawn: Array, labels: Array | None = None) -> Array:
    """The per-example sums (shape (methods, seeds, examples, statistics)) of drawn scores.

    A score is itself for a mean; for a metric of classes it is the margin by which the answer is right.
    """
    if labels is None:
        return drawn[..., None]
    right = drawn > 0
    predicted = np.where(right, labels, 1 - labels)
    return np.array(
        [
            [label_sums([metric], run.tolist(), labels.tolist(), 2)[metric] for run in runs]
            for runs in predicted
        ]
    )


def measured(task: str, metric: str, sums: Mapping[str, Array]) -> Measured:
    """What a task measured, from the sums (shape (seeds, examples, statistics)) of each method."""
    values = {
        method: {
            seed: float(METRICS[metric].from_sums(rows.sum(axis=0), len(rows)))
            for seed, rows in enumerate(runs)
        }
        for method, runs in sums.items()
    }
    by_run = {(method, seed): rows for method, runs in sums.items() for seed, rows in enumerate(runs)}
    return Measured(task, metric, METRICS[metric].higher_is_better, values, by_run, [])


def rouge_task(
    rng: np.random.Generator,
    effects: Mapping[str, float],
    spread: Spread,
    seeds: int = 5,
    examples: int = 60,
    task: str = "t",
) -> Measured:
    """A task scored by a mean over examples, on which each method's expectation is its effect."""
    drawn = scores(rng, list(effects.values()), seeds, examples, spread)
    return measured(task, "rougeL", dict(zip(effects, sums_of("rougeL", drawn), strict=True)))


def results(study: dict[str, Any], tasks: Sequence[Measured]) -> Results:
    """The results table and predictions that runs with these measurements leave behind."""
    runs, lines = [], []
    for task in tasks:
        for method, values in task.values.items():
            for seed, value in values.items():
                run = {"task": task.task, "method": method, "seed": seed}
                what = {
                    "primary_metric": task.metric,
                    "primary_value": value,
                    "status": "done",
                    "reason": None,
                }
                runs.append(run | what)
                records = example_records({task.metric: task.sums[method, seed]}, task.examples)
                lines += [run | {"id": i, "sums": record} for i, record in enumerate(records)]
    empty = pd.DataFrame()
    return Results(study, pd.DataFrame(runs), empty, pd.DataFrame(lines), empty, empty, {})
