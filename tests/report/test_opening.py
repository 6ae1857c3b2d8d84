"""The opening in words, on made-up findings: nothing, one and many of each kind."""

import pytest
from tests.report.made_up import check, comparison, made_up, untested

from amplitune.report.opening import what_was_found
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results


def words(*comparisons: object, **keys: object) -> str:
    return " | ".join(what_was_found(made_up(*comparisons, **keys), tuned=True))  # type: ignore[arg-type]


def test_nothing_compared() -> None:
    assert words() == "No method was tested against lora."
    assert words(baseline="") == "No method was tested against a baseline."
    assert words(untested("a", "qaa")) == "No method was tested against lora."


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("better", "With each method tuned, on a, qaa (+3.2 BLEU) is better than lora."),
        ("worse", "With each method tuned, on a, qaa (−6.1 BLEU) is worse than lora."),
        ("cannot distinguish", "With each method tuned, on a, qaa cannot be distinguished from lora."),
    ],
)
def test_one_method_on_one_task(verdict: str, expected: str) -> None:
    assert words(comparison("a", "qaa", verdict)) == expected


def test_many_methods_name_the_baseline_once() -> None:
    text = words(
        comparison("a", "full"),
        comparison("a", "sora"),
        comparison("a", "qaa", "worse"),
        comparison("a", "prefix", "cannot distinguish"),
        comparison("a", "ia3", "cannot distinguish"),
    )
    assert text == (
        "With each method tuned, on a, full (+3.2 BLEU) and sora (+3.2 BLEU) are better than lora; "
        "qaa (−6.1 BLEU) is worse than it; prefix and ia3 cannot be distinguished from it."
    )


def test_tasks_with_the_same_verdicts_share_a_sentence() -> None:
    text = words(
        comparison("a", "full"),
        comparison("b", "full", difference=4.0),
        comparison("c", "full", "worse"),
        comparison("d", "full", "cannot distinguish"),
        comparison("e", "full", "cannot distinguish"),
    )
    assert text == (
        "With each method tuned, on a and b, full (+3.2 and +4.0 BLEU) is better than lora. "
        "On c, full (−6.1 BLEU) is worse than lora. On d and e, full cannot be distinguished from lora."
    )


def test_differences_in_several_units_name_each() -> None:
    text = words(comparison("a", "full"), comparison("b", "full", metric="accuracy", difference=0.04))
    assert "full (+3.2 BLEU and +0.040 accuracy) is better than lora" in text


def test_a_task_that_tells_nothing_apart() -> None:
    text = words(*(comparison("a", method, "cannot distinguish") for method in ("full", "qaa")))
    assert text == "With each method tuned, on a, none of the methods can be distinguished from lora."


def test_tasks_that_rank_nothing_come_first() -> None:
    text = words(
        comparison("b", "qaa", "worse"), checks=(check("a", False), check("b", True), check("c", True))
    )
    assert text.startswith(
        "The task a ranks nothing. Full fine-tuning ties with biases alone. "
        "The tasks b and c can tell methods apart:"
    )
    assert text.index("qaa") > text.index("ranks nothing")


def test_views_are_said_apart() -> None:
    matched = comparison("a", "qaa-matched", "worse", view="matched", baseline="lora-matched")
    found = made_up(comparison("a", "qaa"), matched)
    assert what_was_found(found, tuned=False) == [
        "With the settings given, on a, qaa (+3.2 BLEU) is better than lora.",
        "At matched parameters, on a, qaa-matched (−6.1 BLEU) is worse than lora-matched.",
    ]


def test_controls() -> None:
    def against_qaa(task: str, control: str, verdict: str) -> object:
        return comparison(task, control, verdict, view="control", baseline="qaa")

    one = words(against_qaa("a", "qaa-frozen", "cannot distinguish"))
    assert one == (
        "A control does as well as qaa, as far as these runs can tell: qaa-frozen on a. "
        "What it lacks is not shown to matter there."
    )
    several = words(
        against_qaa("a", "qaa-frozen", "cannot distinguish"),
        against_qaa("a", "qaa-squares", "cannot distinguish"),
        against_qaa("b", "qaa-frozen", "better"),
        against_qaa("b", "qaa-squares", "worse"),
    )
    assert several == (
        "A control is even better than qaa: qaa-frozen on b. "
        "Controls do as well as qaa, as far as these runs can tell: qaa-frozen and qaa-squares on a. "
        "What they lack is not shown to matter there. "
        "A control falls behind qaa: qaa-squares on b."
    )


def test_a_reference_that_is_worse_is_no_news_and_one_that_is_not_is() -> None:
    found = made_up(
        comparison("a", "base", "worse"), comparison("a", "bias"), comparison("a", "qaa", "worse")
    )
    (text,) = what_was_found(found, True, ("base", "bias"))
    assert text == (
        "With each method tuned, on a, bias (+3.2 BLEU) is better than lora; "
        "qaa (−6.1 BLEU) is worse than it."
    )


def test_the_planted_findings_are_those_that_are_said(rich: Results, rich_found: Findings) -> None:
    text = " ".join(what_was_found(rich_found, True, ("base", "bias", "full")))
    assert text.startswith("The task sentiment ranks nothing.")
    assert "sora cannot be distinguished from it" in text
    assert "qaa-givens on data-to-text and instructions" in text
