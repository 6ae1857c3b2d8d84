"""Checks of tasks: those that separate, those that do not, those of which it is not known."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
from tests.study.statistics.planted import Spread, rouge_task

from amplitune.study.statistics.comparison import compare
from amplitune.study.statistics.measured import Measured
from amplitune.study.statistics.statements import TaskCheck
from amplitune.study.statistics.task_check import check_tasks, withdraw_verdicts
from amplitune.study.statistics.verdicts import gain, with_verdicts
from amplitune.study.statistics.views import Pair, StudyMethod

METHODS = [StudyMethod(name, name) for name in ("base", "bias", "full", "lora", "qaa")]


def task(
    seed: int = 0, seeds: int = 5, name: str = "t", effects: Mapping[str, float] = MappingProxyType({})
) -> Measured:
    planted = {"base": 0.1, "bias": 0.3, "full": 0.9, "lora": 0.8, "qaa": 0.6, **effects}
    return rouge_task(np.random.default_rng(seed), planted, Spread(0.02, 0.1, 0.05), seeds, task=name)


def check(measured: Measured, methods: list[StudyMethod] = METHODS) -> TaskCheck:
    (found,) = check_tasks([measured], methods)
    return found


def test_a_task_that_separates_ranks() -> None:
    found = check(task())
    assert found.ranks is True
    assert found.reason.startswith("Full fine-tuning is better than base by 0.7")
    assert [(c.method, c.baseline, c.view) for c in found.comparisons] == [
        ("full", "base", "reference"),
        ("full", "bias", "reference"),
    ]
    assert all(gain(c) > (c.detectable or 0.0) for c in found.comparisons)


@pytest.mark.parametrize(
    ("effects", "names"),
    [
        ({"bias": 0.9}, "bias by"),
        ({"base": 1.2}, "base by"),
        ({"base": 0.9, "bias": 0.9}, "base by"),
    ],
)
def test_a_task_that_does_not_separate_ranks_nothing(effects: dict[str, float], names: str) -> None:
    found = check(task(effects=effects))
    assert found.ranks is False
    assert f"Full fine-tuning is not better than {names} more than the detectable" in found.reason


def test_a_margin_within_the_detectable_difference_is_no_margin() -> None:
    # Of differences about as large as what is detectable, some are significant and yet smaller than it.
    found = [check(task(seed=seed, effects={"bias": 0.865})) for seed in range(40)]
    significant = [c for c in found if all(v.verdict == "better" for v in c.comparisons)]
    small = [c for c in significant if any(gain(v) <= (v.detectable or 0.0) for v in c.comparisons)]
    assert len(small) > 3
    assert {c.ranks for c in small} == {False}


@pytest.mark.parametrize("missing", ["base", "bias", "full"])
def test_a_missing_reference_is_named(missing: str) -> None:
    found = check(task(), [m for m in METHODS if m.name != missing])
    assert found.ranks is None
    assert found.reason.startswith(f"The task was not checked. Add to the study's methods: {missing} (")
    assert len(found.comparisons) == (0 if missing == "full" else 1)


def test_few_seeds_do_not_check_a_task() -> None:
    found = check(task(seeds=3))
    assert found.ranks is None
    assert found.reason.endswith("A verdict takes 5 seeds that both methods have, but there are only 3.")


def test_verdicts_on_a_task_that_ranks_nothing_are_taken_back_and_numbers_kept() -> None:
    good, bad = task(name="good"), task(name="bad", effects={"bias": 0.9})
    checks = check_tasks([good, bad], METHODS)
    assert [c.ranks for c in checks] == [True, False]
    before = with_verdicts([compare(t, Pair("qaa", "lora", "tuned")) for t in (good, bad)])
    after = withdraw_verdicts(before, checks)
    assert [c.verdict for c in before] == ["worse", "worse"]
    assert after[0] == before[0]
    assert after[1].verdict == "not tested"
    assert after[1].reason.startswith("The task ranks nothing: full fine-tuning is not better than bias by")
    assert (after[1].p_adjusted, after[1].difference) == (before[1].p_adjusted, before[1].difference)
