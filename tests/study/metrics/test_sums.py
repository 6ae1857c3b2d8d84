"""Statistics of examples, added up and resampled, against the metrics' own packages on the same texts."""

import json
import math
import warnings
from itertools import zip_longest

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from amplitune.study.metrics import METRICS, corpus_scores, label_sums, text_sums
from amplitune.study.metrics.sums import Sums, example_records
from amplitune.study.metrics.text import bleu_signature

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dog", "runs", "running"]


def texts(seed: int, examples: int, longest: int) -> tuple[list[str], list[list[str]]]:
    """Random texts, some empty, with one to three references each."""
    draw = np.random.default_rng(seed)

    def text(least: int) -> str:
        return " ".join(draw.choice(WORDS, size=draw.integers(least, longest + 1)))

    predictions = [text(0) for _ in range(examples)]
    return predictions, [[text(1) for _ in range(draw.integers(1, 4))] for _ in range(examples)]


def sacrebleu(predictions: list[str], references: list[list[str]]) -> tuple[float, str]:
    metric = BLEU()
    score = metric.corpus_score(predictions, [list(stream) for stream in zip_longest(*references)]).score
    return float(score), str(metric.get_signature())


@pytest.mark.parametrize("longest", [2, 3, 5, 30])
@pytest.mark.parametrize("examples", [1, 2, 5, 40])
def test_bleu_is_sacrebleus_corpus_bleu_with_its_signature(examples: int, longest: int) -> None:
    positive = 0
    for seed in range(8):
        predictions, references = texts(seed, examples, longest)
        expected, signature = sacrebleu(predictions, references)
        assert corpus_scores(text_sums(["bleu"], predictions, references))["bleu"] == pytest.approx(
            expected, abs=1e-9
        )
        assert bleu_signature(references) == signature
        positive += expected > 0
    assert positive or longest < 5


def resampled(sums: Sums, name: str, counts: np.ndarray) -> list[float]:
    """The metric on resampled examples, from their sums."""
    rows = sums[name]
    return METRICS[name].from_sums(counts @ rows, len(rows)).tolist()


def test_resampled_sums_are_the_metric_of_the_resampled_texts() -> None:
    predictions, references = texts(0, 12, 12)
    sums = text_sums(["bleu", "rouge1", "rouge2", "rougeL"], predictions, references)
    draw = np.random.default_rng(1).integers(0, 12, size=(20, 12))
    counts = np.array([np.bincount(chosen, minlength=12) for chosen in draw])
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for metric in ("bleu", "rouge1", "rouge2", "rougeL"):
        expected = []
        for chosen in draw:
            some, theirs = [predictions[i] for i in chosen], [references[i] for i in chosen]
            if metric == "bleu":
                expected.append(sacrebleu(some, theirs)[0])
            else:
                best = [scorer.score_multi(t, s)[metric].fmeasure for s, t in zip(some, theirs, strict=True)]
                expected.append(math.fsum(best) / 12)
        assert resampled(sums, metric, counts) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_resampled_sums_are_the_metric_of_the_resampled_labels(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 15)
    predictions = np.where(rng.random(15) < 0.6, labels, rng.integers(0, classes, 15))
    sums = label_sums(["accuracy", "f1", "mcc"], predictions.tolist(), labels.tolist(), classes)
    draw = rng.integers(0, 15, size=(60, 15))
    draw[0], draw[1] = 0, 7  # resamples of one example: a single class
    counts = np.array([np.bincount(chosen, minlength=15) for chosen in draw])
    constant = 0
    for i, chosen in enumerate(draw):
        p, t = predictions[chosen], labels[chosen]
        constant += len(set(p)) == 1 or len(set(t)) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            f1 = f1_score(
                t, p, labels=[1] if classes == 2 else range(classes), average="macro", zero_division=0.0
            )
            expected = {"accuracy": accuracy_score(t, p), "f1": f1, "mcc": matthews_corrcoef(t, p)}
        for name, value in expected.items():
            assert resampled(sums, name, counts[[i]]) == pytest.approx([value], abs=1e-12)
    assert constant >= 2


def test_a_batch_of_totals_gives_a_batch_of_values() -> None:
    rng = np.random.default_rng(0)
    visited = []
    for name, metric in METRICS.items():
        width = {"bleu": 10, "perplexity": 2, "f1": 9, "mcc": 9}.get(name, 1)
        totals = rng.integers(1, 30, size=(4, 3, width)).astype(float)
        values = metric.from_sums(totals, 90)
        assert values.shape == (4, 3)
        each = [[float(metric.from_sums(totals[i, j], 90)) for j in range(3)] for i in range(4)]
        assert values.tolist() == pytest.approx(np.array(each), nan_ok=False)
        visited.append(name)
    assert len(visited) == 9


def test_what_is_written_gives_the_value_back() -> None:
    predictions, references = texts(3, 30, 20)
    sums = text_sums(["bleu", "rouge1", "rougeL"], predictions, references)
    sums["perplexity"] = np.random.default_rng(0).uniform(1, 99, size=(30, 2))
    lines = [json.dumps(record) for record in example_records(sums, 30)]
    assert len(lines) == 30
    read = [json.loads(line) for line in lines]
    back = {name: np.array([record[name] for record in read], dtype=float) for name in sums}
    assert corpus_scores(back) == pytest.approx(corpus_scores(sums), abs=1e-6)
    assert all(type(value) is int for record in read for value in record["bleu"])


def test_a_metric_without_meaning_is_left_out() -> None:
    assert corpus_scores({"perplexity": np.zeros((3, 2))}) == {}
    assert corpus_scores({"perplexity": np.array([[1e6, 1.0]])}) == {"perplexity": math.inf}
    assert corpus_scores({}) == {}
    assert example_records({}, 2) == [{}, {}]
