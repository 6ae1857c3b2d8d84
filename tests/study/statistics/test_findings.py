"""The findings of whole studies with a known truth."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from tests.study.statistics.planted import Spread, measured, results, rouge_task

from amplitune.study.statistics.findings import Findings, findings
from amplitune.study.stored.results import Results

METHODS: list[dict[str, Any]] = [
    *({"method": name, "name": name} for name in ("base", "bias", "full", "lora", "qaa", "sora")),
    {"method": "qaa", "name": "qaa-frozen", "control_of": "qaa"},
    {"method": "lora", "name": "lora-matched", "matched_to": 500},
    {"method": "qaa", "name": "qaa-matched", "matched_to": 500},
]
TRUTH = {
    "base": 0.1,
    "bias": 0.3,
    "full": 0.9,
    "lora": 0.8,
    "qaa": 0.6,
    "sora": 0.8,
    "qaa-frozen": 0.6,
    "lora-matched": 0.7,
    "qaa-matched": 0.9,
}
SPREAD = Spread(0.02, 0.1, 0.05)


def study(seeds: int = 5) -> dict[str, Any]:
    return {"baseline": "lora", "methods": METHODS, "seeds": list(range(seeds))}


def planted(tasks: int = 3, seeds: int = 5, examples: int = 60, **effects: float) -> Results:
    rng = np.random.default_rng(0)
    return results(
        study(seeds),
        [rouge_task(rng, TRUTH | effects, SPREAD, seeds, examples, f"t{i}") for i in range(tasks)],
    )


def verdicts(found: Findings, task: str) -> dict[str, str]:
    return {c.method: c.verdict for c in found.comparisons if c.task == task}


def numbers(value: Any) -> list[float]:
    """All numbers in findings."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, float) else []


def test_a_whole_study() -> None:
    found = findings(planted())
    assert found.baseline == "lora"
    assert len(found.estimates) == 27
    assert [check.ranks for check in found.checks] == [True] * 3
    expected = {
        "base": "worse",
        "bias": "worse",
        "full": "better",
        "qaa": "worse",
        "sora": "cannot distinguish",
    }
    expected |= {"qaa-matched": "better", "qaa-frozen": "cannot distinguish"}
    for task in ("t0", "t1", "t2"):
        assert verdicts(found, task) == expected
    views = {(c.method, c.baseline): c.view for c in found.comparisons}
    assert views["qaa-matched", "lora-matched"] == "matched"
    assert views["qaa-frozen", "qaa"] == "control"
    assert len(found.comparisons) == 21
    for c in found.comparisons:
        assert c.low is not None
        assert c.high is not None
        assert c.low - 0.02 < TRUTH[c.method] - TRUTH[c.baseline] < c.high + 0.02
    assert found.notes == ()
    assert all(math.isfinite(number) for number in numbers(dataclasses.asdict(found)))


def test_estimates_are_intervals_over_seeds() -> None:
    stored = planted(tasks=1)
    found = findings(stored)
    values = stored.table[stored.table["method"] == "qaa"]["primary_value"]
    (qaa,) = [e for e in found.estimates if e.method == "qaa"]
    assert qaa.n_seeds == 5
    assert qaa.mean == pytest.approx(values.mean())
    assert qaa.low == pytest.approx(values.mean() - 2.776445 * values.std() / math.sqrt(5))
    one = findings(Results(**{**vars(stored), "table": stored.table[stored.table["seed"] == 2]}))
    assert {(e.low, e.high, e.n_seeds) for e in one.estimates} == {(None, None, 1)}


def test_methods_over_tasks() -> None:
    found = {(a.method, a.view): a for a in findings(planted()).across}
    assert set(found) == {
        *((name, "tuned") for name in ("bias", "full", "qaa", "sora")),
        ("qaa-matched", "matched"),
        ("qaa-frozen", "control"),
    }
    qaa = found["qaa", "tuned"]
    assert qaa.tasks == ("t0", "t1", "t2")
    assert qaa.iqm == pytest.approx((0.6 - 0.1) / (0.8 - 0.1), abs=0.05)
    assert qaa.improvement == 0.0
    assert qaa.high is not None
    assert 0.1 < qaa.high < 0.5
    full = found["full", "tuned"]
    assert None not in (full.iqm, full.iqm_low, full.iqm_high)
    assert full.iqm_low < full.iqm < full.iqm_high  # type: ignore[operator]
    assert full.improvement > 0.9


def test_a_task_that_does_not_separate_ranks_nothing_and_is_left_out() -> None:
    rng = np.random.default_rng(1)
    tasks = [rouge_task(rng, TRUTH, SPREAD, 5, 60, name) for name in ("a", "b")]
    tasks.append(rouge_task(rng, TRUTH | {"bias": 0.9}, SPREAD, 5, 60, "flat"))
    found = findings(results(study(), tasks))
    assert [check.ranks for check in found.checks] == [True, True, False]
    assert set(verdicts(found, "flat").values()) == {"not tested"}
    assert all(c.p is not None and c.reason for c in found.comparisons if c.task == "flat")
    assert {a.tasks for a in found.across} == {("a", "b")}


def test_few_seeds_give_points_only() -> None:
    found = findings(planted(seeds=3))
    assert {c.verdict for c in found.comparisons} == {"not tested"}
    assert {c.p for c in found.comparisons} == {None}
    assert {check.ranks for check in found.checks} == {None}
    assert all(c.difference is not None and c.n_seeds == 3 for c in found.comparisons)
    assert all(a.iqm is None and a.low is None for a in found.across)
    assert len(found.across) == 6


def test_a_failed_run_is_noted_and_the_rest_compared() -> None:
    stored = planted(tasks=1, seeds=6)
    row = (stored.table["method"] == "qaa") & (stored.table["seed"] == 1)
    stored.table.loc[row, ["status", "reason"]] = ["failed", "OutOfMemoryError: 3 GB\nasked for"]
    gone = (stored.table["method"] == "sora") & (stored.table["seed"] > 3)
    found = findings(Results(**{**vars(stored), "table": stored.table[~gone]}))
    assert found.notes == (
        "t0: qaa has 5 of 6 seeds, and is compared on those (seed 1 failed: OutOfMemoryError: 3 GB).",
        "t0: sora has 4 of 6 seeds, and is compared on those (seed 4 has no result; seed 5 has no result).",
    )
    by_method = {c.method: c for c in found.comparisons}
    assert (by_method["qaa"].n_seeds, by_method["qaa"].verdict) == (5, "worse")
    assert (by_method["sora"].n_seeds, by_method["sora"].verdict) == (4, "not tested")


def test_a_method_without_any_run_is_said_so() -> None:
    stored = planted(tasks=1)
    stored.table.loc[stored.table["method"] == "sora", "status"] = "failed"
    (sora,) = [c for c in findings(stored).comparisons if c.method == "sora"]
    assert (sora.difference, sora.n_seeds, sora.verdict) == (None, 0, "not tested")
    assert sora.reason == "sora and lora have no finished run of the same seed on this task."


def test_a_baseline_without_a_matched_variant_is_noted() -> None:
    stored = planted(tasks=1)
    some = [method for method in METHODS if method["name"] != "lora-matched"]
    found = findings(Results(**{**vars(stored), "study": study() | {"methods": some}}))
    assert found.notes == (
        "Methods of matched size are not compared: the baseline lora has no variant of that size.",
    )
    assert {c.view for c in found.comparisons} == {"tuned", "control"}


def test_a_value_that_does_not_follow_is_noted() -> None:
    stored = planted(tasks=1)
    changed = stored.table["primary_value"].where(stored.table.index != 3, 9.0)
    table = stored.table.assign(primary_value=changed)
    assert findings(Results(**{**vars(stored), "table": table})).notes == (
        "t0: the stored rougeL does not follow from the predictions of base seed 3. Run again what is named.",
    )


def test_a_baseline_near_the_base_is_no_scale() -> None:
    found = findings(planted(lora=0.1))
    assert any("t0, t1, t2: lora is not known to be better than base" in note for note in found.notes)
    tuned = [a for a in found.across if a.view == "tuned"]
    assert len(tuned) == 4
    assert all(a.iqm is None and a.tasks == ("t0", "t1", "t2") for a in tuned)
    assert all(math.isfinite(number) for number in numbers(dataclasses.asdict(found)))


def test_lower_is_better_for_perplexity() -> None:
    rng = np.random.default_rng(0)

    def losses(mean: float) -> np.ndarray:
        drawn = mean + 0.05 * rng.normal(size=(5, 1)) + 0.2 * rng.normal(size=(5, 60))
        return np.stack([drawn * 10, np.full((5, 60), 10.0)], axis=-1)

    means = {"base": 3.0, "bias": 2.5, "full": 1.0, "lora": 1.5, "qaa": 2.0, "sora": 1.5}
    tasks = [
        measured(name, "perplexity", {method: losses(mean) for method, mean in means.items()})
        for name in ("a", "b")
    ]
    found = findings(results(study(), tasks))
    assert [check.ranks for check in found.checks] == [True, True]
    said = verdicts(found, "a")
    assert [said[name] for name in ("base", "bias", "full", "qaa")] == ["worse", "worse", "better", "worse"]
    across = {a.method: a for a in found.across}
    assert across["full"].improvement == 1.0
    assert across["qaa"].improvement == 0.0
    assert across["full"].iqm is not None
    assert across["full"].iqm > 1.0


@pytest.mark.parametrize("empty", [True, False])
def test_a_study_without_results(empty: bool) -> None:
    stored = planted(tasks=1)
    failed = stored.table.assign(status="failed", reason="no memory")
    table = failed.iloc[:0] if empty else failed
    found = findings(Results(**{**vars(stored), "table": table, "predictions": stored.predictions.iloc[:0]}))
    assert (found.estimates, found.comparisons, found.checks, found.across) == ((), (), (), ())


def test_the_same_results_give_the_same_findings() -> None:
    assert findings(planted()) == findings(planted())
