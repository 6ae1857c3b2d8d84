"""Scores against learning rates: every trial, the chosen ones named, edges and losses said."""

from amplitune.report.columns import METRICS
from amplitune.report.styles import method_styles
from amplitune.report.trial_scores import draw_trials
from amplitune.study.stored.results import Results

METHODS = ["lora", "prefix", "qaa"]


def test_chosen_trials_are_named_and_an_edge_is_said(rich: Results) -> None:
    trials = rich.trials[(rich.trials["task"] == "data-to-text") & rich.trials["method"].isin(METHODS)]
    drawing = draw_trials(trials, METRICS["rougeL"], method_styles(METHODS), "t")
    assert drawing is not None
    for method in METHODS:
        assert drawing.svg.count(f">{method}</text>") == 1
    assert drawing.caption.endswith("At the edge of the search space: lora (learning_rate).")
    assert "not drawn" not in drawing.caption


def test_a_failed_trial_is_counted(rich: Results) -> None:
    trials = rich.trials[(rich.trials["task"] == "sentiment") & rich.trials["method"].isin(METHODS)]
    drawing = draw_trials(trials, METRICS["accuracy"], method_styles(METHODS), "t")
    assert drawing is not None
    assert "1 trial without a score or a learning rate is not drawn." in drawing.caption


def test_no_trials_no_figure(results: Results) -> None:
    assert results.trials.empty
    assert draw_trials(results.trials, METRICS["bleu"], method_styles(METHODS), "t") is None
