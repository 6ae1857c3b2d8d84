"""Which method is compared with which."""

import pytest

from amplitune.study.statistics.views import baseline_of, matched_baseline, pairs, reference, study_methods

STUDY = {
    "baseline": "lora",
    "methods": [
        "base",
        {"method": "bias", "name": "biases"},
        {"method": "full", "name": "full"},
        {"method": "lora", "name": "lora"},
        {"method": "lora", "name": "lora-wide"},
        {"method": "qaa", "name": "qaa"},
        {"method": "qaa", "name": "qaa-frozen", "control_of": "qaa"},
        {"method": "lora", "name": "lora-wide-matched", "matched_to": 1000},
        {"method": "lora", "name": "lora-matched", "matched_to": 1000},
        {"method": "qaa", "name": "qaa-matched", "matched_to": 1000},
    ],
}


def test_every_method_but_the_baselines_is_in_one_view() -> None:
    found = [(p.view, p.method, p.baseline) for p in pairs(STUDY, study_methods(STUDY))]
    assert found == [
        ("tuned", "base", "lora"),
        ("tuned", "biases", "lora"),
        ("tuned", "full", "lora"),
        ("tuned", "lora-wide", "lora"),
        ("tuned", "qaa", "lora"),
        ("matched", "lora-wide-matched", "lora-matched"),
        ("matched", "qaa-matched", "lora-matched"),
        ("control", "qaa-frozen", "qaa"),
    ]


def test_without_a_variant_of_the_baseline_nothing_is_matched_with_it() -> None:
    methods = [m for m in study_methods(STUDY) if m.name != "lora-matched"]
    assert matched_baseline(STUDY, methods) is None
    assert [p for p in pairs(STUDY, methods) if p.view == "matched"] == []
    # Unless its size is the one that the others were matched to.
    matched = [p for p in pairs(STUDY | {"matched_parameters": "lora"}, methods) if p.view == "matched"]
    assert [(p.method, p.baseline) for p in matched] == [
        ("lora-wide-matched", "lora"),
        ("qaa-matched", "lora"),
    ]


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["base", "qaa", "lora"], "lora"),
        (["base", "qaa", "full"], "qaa"),
        (["base"], "base"),
        ([], ""),
    ],
)
def test_the_baseline_of_a_study_that_names_none(methods: list[str], expected: str) -> None:
    study = {"methods": methods}
    assert baseline_of(study, study_methods(study)) == expected


def test_references_are_found_by_what_they_are() -> None:
    methods = study_methods(STUDY)
    assert [reference(methods, method) for method in ("base", "bias", "full", "ia3")] == [
        "base",
        "biases",
        "full",
        None,
    ]
