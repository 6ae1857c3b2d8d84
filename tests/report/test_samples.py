"""Sample predictions: the same examples for each method, chosen without looking at a prediction."""

import pandas as pd

from amplitune.report.samples import LONGEST, pick_samples
from amplitune.study.stored.results import Results

METHODS = ["base", "full", "lora", "qaa"]


def of_task(results: Results, task: str) -> pd.DataFrame:
    return results.predictions[results.predictions["task"] == task]


def test_five_examples_evenly_spaced_with_every_method(results: Results) -> None:
    chosen = pick_samples(of_task(results, "data-to-text"), METHODS, "generation")
    assert [sample.prompt.split("price: ")[1][:2] for sample in chosen.samples] == [
        "10",
        "13",
        "16",
        "18",
        "21",
    ]
    assert chosen.available == 12
    assert all([answer.method for answer in sample.answers] == METHODS for sample in chosen.samples)
    assert all(len(sample.references) == 2 for sample in chosen.samples)
    assert all(answer.right is None for sample in chosen.samples for answer in sample.answers)


def test_each_method_shows_its_lowest_seed(results: Results) -> None:
    predictions = of_task(results, "data-to-text")
    later = predictions[~((predictions["method"] == "qaa") & (predictions["seed"] == 0))]
    assert pick_samples(later, METHODS, "generation").seeds == {"base": 0, "full": 0, "lora": 0, "qaa": 1}


def test_only_examples_that_every_method_answered_are_chosen(results: Results) -> None:
    predictions = of_task(results, "data-to-text")
    fewer = predictions[(predictions["method"] != "lora") | (predictions["id"] < 3)]
    chosen = pick_samples(fewer, METHODS, "generation")
    assert chosen.available == 3
    assert len(chosen.samples) == 3


def test_a_label_is_right_or_wrong(results: Results) -> None:
    chosen = pick_samples(of_task(results, "sentiment"), METHODS, "classification")
    for sample in chosen.samples:
        assert all(answer.right == (answer.prediction == sample.references[0]) for answer in sample.answers)
    assert {answer.right for sample in chosen.samples for answer in sample.answers} == {True, False}


def test_a_long_text_is_cut_with_its_length_said(results: Results) -> None:
    predictions = of_task(results, "data-to-text").assign(prediction="x" * (LONGEST + 7))
    answer = pick_samples(predictions, METHODS, "generation").samples[0].answers[0]
    assert answer.prediction is not None
    assert answer.prediction.endswith("… (7 more characters)")


def test_no_predictions_no_samples(results: Results) -> None:
    assert pick_samples(results.predictions.iloc[:0], METHODS, "generation").samples == ()
