"""Convergence of runs, read from their stored loss curves alone."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from amplitune.study.settings.training_config import TrainingConfig
from amplitune.study.stored.results import Results

Numbers = npt.NDArray[np.float64]

KEYS = ("task", "method", "seed")
MEASURES = (
    "area_under_curve",
    "steps_to_target",
    "tokens_to_target",
    "seconds_to_target",
    "grad_norm_variance",
)

LEAST_NORMS = 3
"""Gradient norms below which their variance says nothing."""


def convergence(results: Results) -> pd.DataFrame:
    """Measure how each finished run converged.

        x_to_target        = first x where the validation loss, linear between evaluations, is at the target
        area_under_curve   = integral of the validation loss over steps / steps from first to last evaluation
        grad_norm_variance = variance of ln |g| over the logged steps after warm-up

    The area is a mean loss: lower is better, whether a run learns sooner or further. The variance of the
    logarithm has no unit, so methods with few and with many parameters can be held side by side; |g| is the
    norm before clipping, and norms that are zero or not finite are left out.

    Args:
        results: what `load_results` returned.

    Returns:
        One row per done run in the order of `results.table`: task, method, seed and `MEASURES`, NaN where a
        number does not exist: a target that was never reached, fewer than two evaluations, fewer than
        three gradient norms. A run that is at the target at its first evaluation counts as reaching it there.
    """
    goals = targets(results)
    curves = {
        key: points.sort_values("step")
        for key, points in results.curves.groupby([*KEYS, "split"], sort=False)
    }
    rows = []
    done = results.table[results.table["status"] == "done"]
    for key in done[list(KEYS)].itertuples(index=False, name=None):
        row: dict[str, Any] = dict(zip(KEYS, key, strict=True)) | dict.fromkeys(MEASURES, math.nan)
        if (validation := curves.get((*key, "validation"))) is not None:
            loss = _numbers(validation, "loss")
            row["area_under_curve"] = mean_over_steps(_numbers(validation, "step"), loss)
            for column in ("step", "tokens", "seconds"):
                name = f"{column.removesuffix('s')}s_to_target"
                row[name] = first_reached(_numbers(validation, column), loss, goals.get(key[0], math.nan))
        if (train := curves.get((*key, "train"))) is not None:
            after = train[train["step"] > _warm_up(results.study, key[1])]
            row["grad_norm_variance"] = log_variance(_numbers(after, "grad_norm"))
        rows.append(row)
    table = pd.DataFrame(rows, columns=[*KEYS, *MEASURES])
    for column in MEASURES:
        table[column] = table[column].astype("float64")
    table["seed"] = table["seed"].astype("int64")
    return table


def targets(results: Results) -> dict[str, float]:
    """The validation loss whose reaching is timed, for each task.

    Args:
        results: what `load_results` returned.

    Returns:
        Task to the study's `target_loss` or, where it is unset, to the mean over seeds of the last validation
        loss of the study's baseline; a task whose baseline has no done run is left out.
    """
    tasks = list(dict.fromkeys(results.table["task"]))
    if (given := results.study.get("target_loss")) is not None:
        return dict.fromkeys(tasks, float(given))
    done = results.table[results.table["status"] == "done"][list(KEYS)]
    curves = results.curves[
        (results.curves["split"] == "validation")
        & (results.curves["method"] == results.study.get("baseline"))
        & results.curves["loss"].notna()
    ].merge(done, on=list(KEYS))
    last = curves.sort_values("step").groupby(list(KEYS), sort=False)["loss"].last()
    means = last.groupby("task").mean()
    return {task: float(means[task]) for task in tasks if task in means.index}


def first_reached(x: Numbers, loss: Numbers, target: float) -> float:
    """Find where a curve first comes down to a target.

    Args:
        x: places of the evaluations, rising, shape (evaluations,).
        loss: the losses there; a NaN is no evaluation.
        target: the loss to reach.

    Returns:
        The place, linear between the evaluations around it; NaN if the target is never reached.

    Example:
        >>> first_reached(np.array([10.0, 20.0]), np.array([3.0, 1.0]), 1.5)
        17.5
    """
    known = np.isfinite(loss) & np.isfinite(x)
    x, loss = x[known], loss[known]
    # The mean of equal losses may differ from them in its last bit.
    reached = np.flatnonzero(loss <= target * (1 + 1e-12))
    if not len(reached):
        return math.nan
    i = int(reached[0])
    if i == 0 or loss[i] >= target:
        return float(x[i])
    share = (loss[i - 1] - target) / (loss[i - 1] - loss[i])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


def mean_over_steps(step: Numbers, loss: Numbers) -> float:
    """Average a curve over its span by the trapezoid rule; NaN where it has no span.

    Args:
        step: rising, shape (evaluations,).
        loss: shape (evaluations,).

    Example:
        >>> mean_over_steps(np.array([0.0, 10.0, 30.0]), np.array([3.0, 1.0, 1.0]))
        1.3333333333333333
    """
    known = np.isfinite(loss)
    step, loss = step[known], loss[known]
    if len(step) < 2:
        return math.nan
    return float(np.trapezoid(loss, step) / (step[-1] - step[0]))


def log_variance(norms: Numbers) -> float:
    """Sample variance of ln |g|; NaN for fewer than three norms that are positive and finite.

    Args:
        norms: shape (steps,).

    Example:
        >>> round(log_variance(np.exp([1.0, 2.0, 3.0])), 12)
        1.0
    """
    known = norms[np.isfinite(norms) & (norms > 0)]
    return float(np.log(known).var(ddof=1)) if len(known) >= LEAST_NORMS else math.nan


def _numbers(points: pd.DataFrame, column: str) -> Numbers:
    return points[column].to_numpy(dtype=np.float64)


def _warm_up(study: Mapping[str, Any], method: str) -> int:
    """Steps of warm-up of a method: its own, or else the study's."""
    settings = dict(study.get("training") or {})
    for entry in study.get("methods") or ():
        if isinstance(entry, Mapping) and (entry.get("name") or entry.get("method")) == method:
            settings |= entry.get("training") or {}
    return int(settings.get("warmup_steps", TrainingConfig().warmup_steps))
