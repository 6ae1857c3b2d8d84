"""Verdicts on simulated studies: nothing planted is not found, what is planted is."""

from dataclasses import replace

import numpy as np
import pytest
from tests.study.statistics.planted import Spread, rouge_task

from amplitune.study.statistics.comparison import compare
from amplitune.study.statistics.statements import Comparison
from amplitune.study.statistics.verdicts import gain, with_verdicts
from amplitune.study.statistics.views import Pair

SPREAD = Spread(seeds=0.05, examples=0.3, both=0.1)


def judged(rng: np.random.Generator, effects: dict[str, float], tasks: int) -> list[Comparison]:
    """A study of several tasks with the same effects, against the method "lora"."""
    pairs = [Pair(name, "lora", "tuned") for name in effects if name != "lora"]
    drawn = [rouge_task(rng, effects, SPREAD, examples=60, task=f"t{i}") for i in range(tasks)]
    return with_verdicts([compare(task, pair) for task in drawn for pair in pairs])


def test_nothing_planted_is_called_better_or_worse_at_most_at_the_nominal_rate() -> None:
    rng, studies = np.random.default_rng(0), 250
    effects = dict.fromkeys(("lora", "a", "b", "c"), 0.5)
    found = [judged(rng, effects, tasks=2) for _ in range(studies)]
    assert all(len(study) == 6 for study in found)
    false = np.mean([any(c.verdict != "cannot distinguish" for c in study) for study in found])
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)
    unadjusted = np.mean([any((c.p or 1.0) < 0.05 for c in study) for study in found])
    assert unadjusted > 0.1  # so that the adjustment is what keeps the rate


def test_the_planted_difference_wins_with_about_the_stated_power() -> None:
    rng, studies = np.random.default_rng(1), 200
    # Four times the error sqrt(2 (0.05^2 + 0.1^2/60) / 5 + 2 0.3^2 / 60).
    effects = {"lora": 0.5, "good": 0.5 + 4 * 0.0637, "bad": 0.5 - 4 * 0.0637, "same": 0.5}
    verdicts: dict[str, list[str]] = {"good": [], "bad": [], "same": []}
    for _ in range(studies):
        for c in judged(rng, effects, tasks=1):
            verdicts[c.method].append(c.verdict)
    # A test at 0.05/3 finds four errors with probability 0.92, Holm's a little more; never the wrong way.
    assert verdicts["good"].count("better") / studies > 0.85
    assert verdicts["bad"].count("worse") / studies > 0.85
    assert "worse" not in verdicts["good"]
    assert "better" not in verdicts["bad"]
    assert verdicts["same"].count("cannot distinguish") / studies > 0.95 - 3 * np.sqrt(0.0475 / studies)


def plain(p: float | None, view: str = "tuned", metric: str = "rougeL", sign: float = 1.0) -> Comparison:
    numbers = (sign * 0.1, 0.0, 0.2, 0.1, 0.1)
    return Comparison("t", "m", "lora", metric, view, 5, *numbers, p, None, 0.3, "not tested", "")  # type: ignore[arg-type]


def test_each_view_is_a_family_of_its_own() -> None:
    found = with_verdicts([plain(0.03), plain(0.03, "control"), plain(0.02), plain(None), plain(0.2)])
    assert [c.p_adjusted for c in found] == pytest.approx([0.06, 0.03, 0.06, None, 0.2])
    assert [c.verdict for c in found] == [
        "cannot distinguish",
        "better",
        "cannot distinguish",
        "not tested",
        "cannot distinguish",
    ]


@pytest.mark.parametrize(
    ("metric", "sign", "verdict"),
    [
        ("rougeL", 1.0, "better"),
        ("rougeL", -1.0, "worse"),
        ("perplexity", 1.0, "worse"),
        ("perplexity", -1.0, "better"),
    ],
)
def test_better_follows_the_metric(metric: str, sign: float, verdict: str) -> None:
    (found,) = with_verdicts([plain(0.001, metric=metric, sign=sign)])
    assert found.verdict == verdict
    assert gain(found) == pytest.approx(0.1 if verdict == "better" else -0.1)
    assert gain(replace(found, difference=None)) == 0.0
