"""Comparisons of two methods: which seeds they use, and why some are not tested."""

import dataclasses

import numpy as np
import pytest
from tests.study.statistics.planted import Spread, measured, rouge_task

from amplitune.study.statistics.comparison import compare
from amplitune.study.statistics.measured import Measured
from amplitune.study.statistics.statements import Comparison
from amplitune.study.statistics.views import Pair

PAIR = Pair("qaa", "lora", "tuned")
NUMBERS = ("low", "high", "seed_error", "example_error", "p", "detectable")


def task(seeds: int = 6, examples: int = 60) -> Measured:
    return rouge_task(
        np.random.default_rng(0), {"lora": 0.5, "qaa": 0.7}, Spread(0.1, 0.2, 0.2), seeds, examples
    )


def assert_numbers(comparison: Comparison, present: bool) -> None:
    values = [getattr(comparison, name) for name in NUMBERS]
    assert [value is not None for value in values] == [present] * 6
    assert all(np.isfinite(value) for value in values if value is not None)


def test_a_comparison_is_made_on_the_seeds_that_both_have() -> None:
    whole, some = task(), task()
    del some.values["qaa"][1]
    found = compare(some, PAIR)
    assert found.n_seeds == 5
    both = [whole.values["qaa"][s] - whole.values["lora"][s] for s in (0, 2, 3, 4, 5)]
    assert found.difference == pytest.approx(np.mean(both))
    assert found.seed_error == pytest.approx(np.std(both, ddof=1) / np.sqrt(5))
    assert_numbers(found, present=True)
    assert (found.metric, found.view, found.p_adjusted, found.verdict) == (
        "rougeL",
        "tuned",
        None,
        "not tested",
    )


@pytest.mark.parametrize(
    ("seeds", "reason"),
    [
        (4, "A verdict takes 5 seeds that both methods have, but there are only 4."),
        (1, "A verdict takes 5 seeds that both methods have, but there is only 1."),
        (0, "qaa and lora have no finished run of the same seed on this task."),
    ],
)
def test_few_seeds_give_points_only(seeds: int, reason: str) -> None:
    some = task()
    some.values["qaa"] = {seed: value for seed, value in some.values["qaa"].items() if seed < seeds}
    found = compare(some, PAIR)
    assert (found.n_seeds, found.reason, found.verdict) == (seeds, reason, "not tested")
    assert (found.difference is None) == (seeds == 0)
    assert_numbers(found, present=False)


def test_few_examples_give_points_only() -> None:
    found = compare(task(examples=29), PAIR)
    assert found.reason == "A verdict takes 30 test examples, but the task has 29."
    assert found.difference is not None
    assert_numbers(found, present=False)
    assert_numbers(compare(task(examples=30), PAIR), present=True)


def test_runs_without_sums_are_named() -> None:
    some = task(seeds=5)
    del some.sums["lora", 3]
    found = compare(some, PAIR)
    assert "which the predictions of lora seed 3 lack. Run again what is named." in found.reason
    assert_numbers(found, present=False)
    some.sums.clear()
    assert "qaa seed 0, qaa seed 1" in compare(some, PAIR).reason


def test_identical_predictions_cannot_be_told_apart() -> None:
    same = task(seeds=5)
    for seed in range(5):
        same.values["qaa"][seed] = same.values["lora"][seed]
        same.sums["qaa", seed] = same.sums["lora", seed]
    found = compare(same, PAIR)
    assert (found.difference, found.low, found.high, found.p, found.detectable) == (0.0, 0.0, 0.0, 1.0, 0.0)


def test_an_untrained_model_without_seed_variance() -> None:
    rng = np.random.default_rng(0)
    once = rng.random((1, 60, 1))
    found = compare(
        measured("t", "rougeL", {"base": np.repeat(once, 5, axis=0), "lora": 0.5 + rng.random((5, 60, 1))}),
        Pair("base", "lora", "tuned"),
    )
    assert_numbers(found, present=True)
    assert found.p is not None
    assert found.p < 1e-6
    both = compare(
        measured("t", "rougeL", {"a": np.repeat(once, 5, axis=0), "b": np.repeat(once**2, 5, axis=0)}),
        Pair("a", "b", "tuned"),
    )
    assert both.seed_error == 0.0
    assert_numbers(both, present=True)


def test_a_perplexity_that_overflows_is_not_tested() -> None:
    rng = np.random.default_rng(0)
    losses = np.stack([rng.uniform(1, 3, size=(5, 40)), np.full((5, 40), 1.0)], axis=-1)
    wild = losses.copy()
    wild[2, 7, 0] = 720.0 * 40 / 2  # drawn often enough, the mean loss passes what exp can hold
    found = compare(measured("t", "perplexity", {"lora": losses, "qaa": wild}), PAIR)
    assert found.reason == "perplexity is not finite on resampled test examples."
    assert_numbers(found, present=False)


def test_comparisons_do_not_depend_on_what_else_was_run() -> None:
    alone, among = task(), task()
    among.values["x"], among.sums["x", 0] = {0: 0.1}, np.zeros((60, 1))
    first = dataclasses.asdict(compare(alone, PAIR))
    assert first == pytest.approx(dataclasses.asdict(compare(among, PAIR)))
