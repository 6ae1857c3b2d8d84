"""The bootstrap over examples against scipy's, and against metrics of resampled texts."""

from itertools import zip_longest

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from scipy import stats

from amplitune.study.metrics import METRICS, text_sums
from amplitune.study.statistics import bootstrap
from amplitune.study.statistics.bootstrap import replicates, resampled_counts, standard_error

REFERENCES = [
    ["the cat sat on the mat", "a cat sat"],
    ["a dog ran in the big park"],
    ["it rained all day long in town"],
    ["no one was there at noon"],
]


def test_replicates_are_the_metric_of_the_resampled_texts() -> None:
    runs = [
        ["the cat sat on a mat", "a dog ran in a park", "it rained all day in town", "no one was there"],
        ["the cat sat on the mat", "the dog", "it rained all day long", "someone was there at noon"],
    ]
    sums = [text_sums(["bleu"], texts, REFERENCES)["bleu"] for texts in runs]
    found = replicates(sums, METRICS["bleu"].from_sums, resamples=30, seed=3)
    (counts,) = resampled_counts(4, resamples=30, seed=3)
    assert counts.sum(axis=1).tolist() == [4] * 30
    for row, drawn in zip(found, counts.astype(int), strict=True):
        chosen = np.repeat(np.arange(4), drawn)
        streams = [list(stream) for stream in zip_longest(*(REFERENCES[i] for i in chosen))]
        for value, texts in zip(row, runs, strict=True):
            expected = BLEU().corpus_score([texts[i] for i in chosen], streams).score
            assert value == pytest.approx(expected, abs=1e-9)
    assert found.shape == (30, 2)


def test_the_standard_error_of_a_paired_difference_is_scipys() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=80)
    ours, theirs = (hard + 0.4 * rng.normal(size=80) for _ in range(2))

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    expected = stats.bootstrap(
        (ours, theirs), difference, paired=True, vectorized=True, n_resamples=9999, random_state=1
    ).standard_error
    columns = replicates([ours[:, None], theirs[:, None]], METRICS["rougeL"].from_sums, resamples=9999)
    found = standard_error(columns[:, 0] - columns[:, 1], 80)
    assert found * np.sqrt(79 / 80) == pytest.approx(expected, rel=0.03)
    # For a mean the bootstrap stands for a formula.
    assert found == pytest.approx(np.std(ours - theirs, ddof=1) / np.sqrt(80), rel=0.03)
    apart = np.hypot(standard_error(columns[:, 0], 80), standard_error(columns[:, 1], 80))
    assert found < 0.5 * apart


def test_perplexity_is_weighted_by_tokens() -> None:
    sums = np.array([[2.0, 1.0], [30.0, 10.0], [8.0, 4.0]])
    found = replicates([sums], METRICS["perplexity"].from_sums, resamples=20, seed=5)[:, 0]
    (counts,) = resampled_counts(3, resamples=20, seed=5)
    assert found.tolist() == pytest.approx([float(np.exp((c @ sums)[0] / (c @ sums)[1])) for c in counts])


def test_blocks_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = [np.random.default_rng(0).normal(size=(7, 1))]
    whole = replicates(sums, METRICS["rougeL"].from_sums, resamples=50)
    monkeypatch.setattr(bootstrap, "_CELLS", 70)
    assert [len(block) for block in resampled_counts(7, 25)] == [10, 10, 5]
    assert replicates(sums, METRICS["rougeL"].from_sums, resamples=50).tolist() == pytest.approx(whole)
