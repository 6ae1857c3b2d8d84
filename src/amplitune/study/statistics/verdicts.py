"""Verdicts in words, after all comparisons of a view."""

from collections.abc import Sequence
from dataclasses import replace

from amplitune.study.metrics import METRICS
from amplitune.study.statistics.holm import holm
from amplitune.study.statistics.intervals import LEVEL
from amplitune.study.statistics.statements import Comparison, Verdict, View

VIEWS: tuple[View, ...] = ("tuned", "matched", "control", "reference")


def with_verdicts(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Adjust p values within each view, over all methods and tasks, and say what follows from them.

    Args:
        comparisons: what `compare` gave, of one or more views.

    Returns:
        The same in the same order; those with a p value have an adjusted one and a verdict.
    """
    judged = list(comparisons)
    for view in VIEWS:
        family = [i for i, c in enumerate(judged) if c.view == view and c.p is not None]
        adjusted = holm([judged[i].p or 0.0 for i in family])
        for i, p in zip(family, adjusted, strict=True):
            judged[i] = replace(judged[i], p_adjusted=p, verdict=_verdict(judged[i], p))
    return judged


def gain(comparison: Comparison) -> float:
    """How much better the method is than its baseline, whichever way the metric runs; 0 where not known."""
    difference = comparison.difference or 0.0
    return difference if METRICS[comparison.metric].higher_is_better else -difference


def _verdict(comparison: Comparison, p_adjusted: float) -> Verdict:
    if p_adjusted >= LEVEL:
        return "cannot distinguish"
    return "better" if gain(comparison) > 0 else "worse"
