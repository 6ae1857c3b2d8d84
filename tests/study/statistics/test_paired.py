"""Paired differences against formulas for means, and their intervals against planted truth."""

import numpy as np
import pytest
from scipy import stats
from tests.study.statistics.planted import Spread, scores, sums_of

from amplitune.study.metrics import METRICS
from amplitune.study.metrics.sums import Array
from amplitune.study.statistics.bootstrap import replicates
from amplitune.study.statistics.paired import PairedDifference, paired_difference


def difference_of(metric: str, sums: Array, resamples: int = 300) -> PairedDifference:
    """The second method against the first (sums of shape (2, seeds, examples, statistics))."""
    _, seeds, examples = sums.shape[:3]
    runs = [*sums[0], *sums[1]]
    values = [float(METRICS[metric].from_sums(run.sum(axis=0), examples)) for run in runs]
    columns = replicates(runs, METRICS[metric].from_sums, resamples)
    differences = [values[seeds + s] - values[s] for s in range(seeds)]
    return paired_difference(differences, (columns[:, seeds:] - columns[:, :seeds]).mean(axis=1), examples)


def test_the_errors_of_a_mean_are_those_of_its_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    drawn = scores(rng, [0.1, 0.3], seeds=6, examples=90, spread=Spread(0.05, 0.2, 0.2))
    found = difference_of("rougeL", drawn[..., None], resamples=20_000)
    difference = drawn[1] - drawn[0]
    by_seed, by_example = stats.sem(difference.mean(axis=1)), stats.sem(difference.mean(axis=0))
    assert found.difference == pytest.approx(difference.mean())
    assert found.seed_error == pytest.approx(by_seed)
    assert found.example_error == pytest.approx(by_example, rel=0.02)
    error = np.hypot(found.seed_error, found.example_error)
    degrees = error**4 / (found.seed_error**4 / 5 + found.example_error**4 / 89)
    assert found.degrees == pytest.approx(degrees)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, degrees, found.difference, error))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / error, degrees))


def test_seeds_alone_give_scipys_paired_test() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(30, 1, size=5), rng.normal(29, 1, size=5)
    found = paired_difference((ours - theirs).tolist(), np.full(50, 0.4), 100)
    expected = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.degrees == pytest.approx(4)
    assert found.example_error == pytest.approx(0.0, abs=1e-12)


def test_examples_alone_have_the_examples_degrees_of_freedom() -> None:
    drawn = np.random.default_rng(2).normal(0.2, 1.0, size=400)
    found = paired_difference([0.2] * 5, drawn, 40)
    assert found.degrees == pytest.approx(39)
    assert found.seed_error == pytest.approx(0.0, abs=1e-12)
    assert found.example_error == pytest.approx(np.std(drawn, ddof=1) * np.sqrt(40 / 39))


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.25, 0.0), (1 / 3, 0.0)])
def test_without_any_spread_there_is_a_point_and_no_nan(difference: float, p: float) -> None:
    found = paired_difference([difference] * 5, np.full(200, difference), 50)
    assert (found.low, found.difference, found.high) == pytest.approx((difference,) * 3)
    assert (found.p, found.detectable, found.seed_error, found.example_error) == (p, 0.0, 0.0, 0.0)
    assert np.isfinite(found.degrees)


SPREADS = {
    "seeds only": Spread(seeds=0.1),
    "examples only": Spread(examples=1.0),
    "both": Spread(seeds=0.1, examples=1.0),
    "both and a residual": Spread(seeds=0.1, examples=1.0, both=1.0),
    "residual only": Spread(both=1.0),
}


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("spread", SPREADS)
def test_intervals_cover_the_planted_difference(spread: str, seeds: int) -> None:
    rng = np.random.default_rng(3)
    studies, covered = 500, 0
    for _ in range(studies):
        drawn = scores(rng, [0.3, 0.5], seeds, examples=80, spread=SPREADS[spread])
        found = difference_of("rougeL", drawn[..., None])
        covered += found.low <= 0.2 <= found.high
    # Three Monte-Carlo errors. The residual is counted twice, so where there is one, more is covered.
    error = 3 * np.sqrt(0.95 * 0.05 / studies)
    assert covered / studies >= 0.95 - error
    if SPREADS[spread].both == 0:
        assert covered / studies <= 0.95 + error


def planted_truth(metric: str, spread: Spread, effects: list[float], share: float) -> float:
    """The difference on endless examples and seeds, by quadrature over the seeds' effect."""
    marginal = np.sqrt(spread.examples**2 + spread.both**2 + spread.shared**2)
    levels, weights = np.polynomial.hermite_e.hermegauss(60)
    values = []
    for effect in effects:
        right = stats.norm.cdf((effect + spread.seeds * levels) / marginal)
        positive = right * share + (1 - right) * (1 - share)  # share that is predicted to be positive
        value = {
            "accuracy": right,
            "f1": 2 * right * share / (positive + share),
            "mcc": (right - positive * share - (1 - positive) * (1 - share))
            / np.sqrt((1 - positive**2 - (1 - positive) ** 2) * (1 - share**2 - (1 - share) ** 2)),
        }[metric]
        values.append(float((value * weights).sum() / weights.sum()))
    return values[1] - values[0]


@pytest.mark.parametrize("metric", ["accuracy", "f1", "mcc"])
def test_intervals_of_metrics_of_classes_cover(metric: str) -> None:
    rng = np.random.default_rng(4)
    spread, effects, share = Spread(0.2, 0.5, 0.5, 0.7), [0.8, 1.1], 0.3
    truth = planted_truth(metric, spread, effects, share)
    studies, covered = 300, 0
    for _ in range(studies):
        labels = (rng.random(80) < share).astype(int)
        found = difference_of(metric, sums_of(metric, scores(rng, effects, 5, 80, spread), labels))
        covered += found.low <= truth <= found.high
    assert covered / studies >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / studies)


@pytest.mark.parametrize("spread", ["seeds only", "both"])
def test_the_detectable_difference_is_detected_four_times_of_five(spread: str) -> None:
    rng = np.random.default_rng(5)
    true_error = {"seeds only": np.sqrt(2 * 0.1**2 / 5), "both": np.sqrt(2 * 0.1**2 / 5 + 2 / 80)}[spread]
    stated = {"seeds only": 3.757, "both": 2.84}[spread]  # of 4 degrees of freedom, and of about 70
    studies, detected, detectable = 400, 0, []
    for _ in range(studies):
        drawn = scores(rng, [0.0, stated * true_error], 5, examples=80, spread=SPREADS[spread])
        found = difference_of("rougeL", drawn[..., None])
        detected += found.p < 0.05 and found.difference > 0
        detectable.append(found.detectable)
    assert detected / studies == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / studies) + 0.01)
    assert np.mean(detectable) == pytest.approx(stated * true_error, rel=0.1)
