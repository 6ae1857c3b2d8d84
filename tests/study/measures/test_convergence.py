"""Convergence on curves whose area, crossing and spread are known."""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from amplitune.study.measures.convergence import (
    MEASURES,
    convergence,
    first_reached,
    log_variance,
    mean_over_steps,
    targets,
)
from amplitune.study.stored.result_columns import CURVE_COLUMNS
from amplitune.study.stored.results import Results


def points(
    method: str, losses: list[float], seed: int = 0, task: str = "t", **norms: list[float]
) -> list[dict[str, Any]]:
    """A validation loss every 10 steps of 100 tokens and 2 seconds, and gradient norms every 5 steps."""
    run = {"task": task, "method": method, "seed": seed}
    validation = [
        {
            **run,
            "split": "validation",
            "step": 10.0 * i,
            "tokens": 1000.0 * i,
            "seconds": 20.0 * i,
            "loss": loss,
        }
        for i, loss in enumerate(losses, start=1)
    ]
    training = [
        {**run, "split": "train", "step": 5.0 * i, "loss": 9.0, "grad_norm": norm}
        for i, norm in enumerate(norms.get("norms", []), start=1)
    ]
    return validation + training


def results(curves: list[dict[str, Any]], study: dict[str, Any], failed: tuple[str, ...] = ()) -> Results:
    """The results of runs with these curves."""
    frame = pd.DataFrame(curves, columns=list(CURVE_COLUMNS))
    table = frame[["task", "method", "seed"]].drop_duplicates(ignore_index=True)
    table["status"] = ["failed" if method in failed else "done" for method in table["method"]]
    return stored(study=study, table=table, curves=frame)


def stored(**parts: Any) -> Results:
    """Results of which convergence reads only a few parts."""
    return Results(**{field.name: pd.DataFrame() for field in dataclasses.fields(Results)} | parts)


STUDY = {"baseline": "lora", "training": {"warmup_steps": 10}}


def test_the_target_is_where_the_baseline_ends() -> None:
    curves = points("lora", [4, 3, 2]) + points("lora", [4, 3.5, 3], seed=1) + points("qaa", [4, 3, 1])
    curves += points("lora", [9, 7], task="u") + points("full", [9, 7], task="v")
    found = results(curves, STUDY)
    assert targets(found) == {"t": 2.5, "u": 7.0}
    rows = {(row["task"], row["method"], row["seed"]): row for row in convergence(found).to_dict("records")}
    assert len(rows) == 5
    assert rows["t", "lora", 0]["steps_to_target"] == pytest.approx(25)
    assert math.isnan(rows["t", "lora", 1]["steps_to_target"])
    row = rows["t", "qaa", 0]
    # From 3 at step 20 to 1 at step 30.
    assert row["steps_to_target"] == pytest.approx(22.5)
    assert row["tokens_to_target"] == pytest.approx(2250)
    assert row["seconds_to_target"] == pytest.approx(45)
    assert row["area_under_curve"] == pytest.approx((3.5 + 2) / 2)
    assert rows["u", "lora", 0]["steps_to_target"] == 20
    assert math.isnan(rows["v", "full", 0]["steps_to_target"])


def test_a_given_target_holds_for_every_task() -> None:
    found = results(points("qaa", [4, 2]) + points("qaa", [9, 8], task="u"), {"target_loss": 3.0})
    assert targets(found) == {"t": 3.0, "u": 3.0}
    steps = convergence(found)["steps_to_target"]
    assert steps[0] == pytest.approx(15)
    assert math.isnan(steps[1])


def test_a_failed_run_has_no_row_and_sets_no_target() -> None:
    found = results(points("lora", [4, 3]) + points("qaa", [4, 2]), STUDY, failed=("lora",))
    assert targets(found) == {}
    table = convergence(found)
    assert list(table["method"]) == ["qaa"]
    assert math.isnan(table["steps_to_target"][0])
    assert table["area_under_curve"][0] == 3


def test_a_run_without_curves_is_blank() -> None:
    found = results(points("lora", [4]), STUDY)
    base = pd.DataFrame([{"task": "t", "method": "base", "seed": 0, "status": "done"}])
    table = convergence(stored(study=STUDY, table=pd.concat([base, found.table]), curves=found.curves))
    assert table.loc[0, list(MEASURES)].isna().all()
    # One evaluation: it is at its own target, and spans nothing.
    assert table["steps_to_target"][1] == 10
    assert np.isnan(table["area_under_curve"][1])


def test_gradient_norms_count_after_each_methods_own_warm_up() -> None:
    norms = [100.0, 100.0, *np.exp([1.0, 2.0, 3.0, 4.0])]
    curves = points("lora", [4], norms=norms) + points("qaa", [4], norms=norms)
    study = STUDY | {"methods": ["lora", {"method": "qaa", "training": {"warmup_steps": 15}}]}
    table = convergence(results(curves, study))
    assert table["grad_norm_variance"][0] == pytest.approx(np.var([1, 2, 3, 4], ddof=1))
    assert table["grad_norm_variance"][1] == pytest.approx(1)


def test_log_variance_has_no_scale_and_needs_three_norms() -> None:
    norms = np.random.default_rng(0).lognormal(0, 0.5, 20_000)
    assert log_variance(norms) == pytest.approx(0.25, rel=0.05)
    assert log_variance(1e6 * norms) == pytest.approx(log_variance(norms))
    assert math.isnan(log_variance(np.array([1.0, 2.0, 0.0, math.nan, math.inf])))


def test_crossings() -> None:
    step = np.array([10.0, 20.0, 30.0, 40.0])
    # A curve that rises again has reached the target all the same; a first evaluation below it is the place.
    assert first_reached(step, np.array([4.0, 2.0, 5.0, 1.0]), 3) == 15
    assert first_reached(step, np.array([2.0, 1.0, 1.0, 1.0]), 3) == 10
    assert math.isnan(first_reached(step, np.array([4.0, 4.0, 4.0, 3.1]), 3))
    assert first_reached(step, np.array([5.0, math.nan, 1.0, 1.0]), 3) == 20
    assert math.isnan(first_reached(step, np.array([4.0, 2.0, 2.0, 2.0]), math.nan))


def test_the_mean_over_steps_weighs_intervals_by_their_length() -> None:
    # A line: its mean is the one at the middle, however it is sampled.
    step = np.array([0.0, 1.0, 7.0, 10.0])
    assert mean_over_steps(step, 5 - 0.2 * step) == pytest.approx(4)
    assert math.isnan(mean_over_steps(np.array([3.0]), np.array([1.0])))
