"""One method against another on a task, before what else was compared is considered."""

import numpy as np

from amplitune.study.statistics.measured import Measured
from amplitune.study.statistics.paired import PairedDifference, paired_difference
from amplitune.study.statistics.statements import Comparison
from amplitune.study.statistics.views import Pair

SEEDS_FOR_A_CLAIM = 5
EXAMPLES_FOR_A_CLAIM = 30
"""Simulated intervals of F1, a fifth of the examples positive, cover 93 % with 20 examples, 98 % with 30."""


def compare(measured: Measured, pair: Pair) -> Comparison:
    """Compare two methods on the seeds that both have.

    Args:
        measured: the runs of a task.
        pair: the method and its baseline.

    Returns:
        The comparison, its verdict still "not tested" and its p value not yet adjusted; without a test where
        that needs more seeds or examples, with the reason.
    """
    method, baseline = (measured.values.get(name, {}) for name in (pair.method, pair.baseline))
    seeds = sorted(method.keys() & baseline.keys())
    differences = [method[seed] - baseline[seed] for seed in seeds]
    reason = _untestable(measured, pair, seeds)
    tested: PairedDifference | None = None
    if not reason:
        resampled = np.mean(
            [measured.resampled(pair.method, s) - measured.resampled(pair.baseline, s) for s in seeds], axis=0
        )
        if np.isfinite(resampled).all():
            tested = paired_difference(differences, resampled, measured.examples)
        else:
            reason = f"{measured.metric} is not finite on resampled test examples."
    return Comparison(
        task=measured.task,
        method=pair.method,
        baseline=pair.baseline,
        metric=measured.metric,
        view=pair.view,
        n_seeds=len(seeds),
        difference=float(np.mean(differences)) if seeds else None,
        low=tested.low if tested else None,
        high=tested.high if tested else None,
        seed_error=tested.seed_error if tested else None,
        example_error=tested.example_error if tested else None,
        p=tested.p if tested else None,
        p_adjusted=None,
        detectable=tested.detectable if tested else None,
        verdict="not tested",
        reason=reason,
    )


def _untestable(measured: Measured, pair: Pair, seeds: list[int]) -> str:
    """Why no test can be made; empty if one can."""
    if not seeds:
        return f"{pair.method} and {pair.baseline} have no finished run of the same seed on this task."
    if len(seeds) < SEEDS_FOR_A_CLAIM:
        have = "is only 1" if len(seeds) == 1 else f"are only {len(seeds)}"
        return f"A verdict takes {SEEDS_FOR_A_CLAIM} seeds that both methods have, but there {have}."
    lacking = [
        f"{name} seed {seed}"
        for name in (pair.method, pair.baseline)
        for seed in seeds
        if (name, seed) not in measured.sums
    ]
    if lacking:
        return (
            f"A verdict takes each example's part in {measured.metric} on the same test examples, which the "
            f"predictions of {', '.join(lacking)} lack. Run again what is named."
        )
    if measured.examples < EXAMPLES_FOR_A_CLAIM:
        return f"A verdict takes {EXAMPLES_FOR_A_CLAIM} test examples, but the task has {measured.examples}."
    return ""
