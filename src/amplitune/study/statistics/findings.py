"""The findings of a study: everything that its statistics say."""

from collections.abc import Sequence

import numpy as np

from amplitune.study.statistics.comparison import compare
from amplitune.study.statistics.intervals import t_interval
from amplitune.study.statistics.measured import Measured, measured_tasks
from amplitune.study.statistics.over_tasks import over_tasks
from amplitune.study.statistics.statements import AcrossTasks, Comparison, Estimate, Findings, TaskCheck
from amplitune.study.statistics.task_check import check_tasks, withdraw_verdicts
from amplitune.study.statistics.verdicts import VIEWS, with_verdicts
from amplitune.study.statistics.views import (
    Pair,
    baseline_of,
    matched_baseline,
    pairs,
    reference,
    study_methods,
)
from amplitune.study.stored.results import Results

__all__ = ["AcrossTasks", "Comparison", "Estimate", "Findings", "TaskCheck", "findings"]


def findings(results: Results) -> Findings:
    """Say what the results of a study allow to be said.

    Args:
        results: what `load_results` returned; of its table, the columns task, method, seed, status, reason,
            primary_metric and primary_value are used, of its predictions task, method, seed, id and sums.

    Returns:
        Scores with intervals, paired comparisons with verdicts, checks of the tasks, summaries over tasks,
        and notes. The same results give the same findings: the bootstrap's seed is fixed.
    """
    tasks = measured_tasks(results)
    methods = study_methods(results.study)
    wanted = pairs(results.study, methods)
    checks = check_tasks(tasks, methods)
    comparisons = with_verdicts([compare(task, pair) for task, pair in _in_order(tasks, wanted)])
    ranking = [task for task, check in zip(tasks, checks, strict=True) if check.ranks is not False]
    across, left_out = over_tasks(ranking, wanted, reference(methods, "base"))
    return Findings(
        baseline=baseline_of(results.study, methods),
        estimates=tuple(_estimate(task, method) for task in tasks for method in task.values),
        comparisons=tuple(withdraw_verdicts(comparisons, checks)),
        checks=tuple(checks),
        across=tuple(across),
        notes=(*_unmatched(results), *_missing(results, tasks), *_doubtful(tasks), *left_out),
    )


def _in_order(tasks: Sequence[Measured], wanted: Sequence[Pair]) -> list[tuple[Measured, Pair]]:
    return [
        (task, pair)
        for view in VIEWS
        for task in tasks
        for pair in wanted
        if pair.view == view and (pair.method in task.values or pair.baseline in task.values)
    ]


def _estimate(task: Measured, method: str) -> Estimate:
    values = list(task.values[method].values())
    low, high = t_interval(values) or (None, None)
    return Estimate(task.task, method, len(values), float(np.mean(values)), low, high)


def _unmatched(results: Results) -> list[str]:
    """Say that matched variants are not compared, where the baseline has none."""
    methods = study_methods(results.study)
    if matched_baseline(results.study, methods) or not any(method.matched for method in methods):
        return []
    baseline = baseline_of(results.study, methods)
    return [f"Methods of matched size are not compared: the baseline {baseline} has no variant of that size."]


def _missing(results: Results, tasks: Sequence[Measured]) -> list[str]:
    """Name the methods that are compared on fewer seeds than the study has."""
    wanted = {int(seed) for seed in results.study.get("seeds") or ()}
    failed = results.table[results.table["status"] == "failed"]
    reasons = {
        (task, method, int(seed)): str(reason or "no reason was written")
        for task, method, seed, reason in zip(
            failed["task"], failed["method"], failed["seed"], failed["reason"], strict=True
        )
    }
    notes = []
    for task in tasks:
        for method in [m.name for m in study_methods(results.study)]:
            have = task.values.get(method, {})
            lost = sorted(wanted - have.keys())
            if lost:
                why = [_why(seed, reasons.get((task.task, method, seed))) for seed in lost]
                kept = ", and is compared on those" if have else ""
                notes.append(
                    f"{task.task}: {method} has {len(have)} of {len(wanted)} seeds{kept} ({'; '.join(why)})."
                )
    return notes


def _why(seed: int, reason: str | None) -> str:
    return f"seed {seed} failed: {reason.splitlines()[0]}" if reason else f"seed {seed} has no result"


def _doubtful(tasks: Sequence[Measured]) -> list[str]:
    return [
        f"{task.task}: the stored {task.metric} does not follow from the predictions of "
        f"{', '.join(f'{method} seed {seed}' for method, seed in task.doubtful)}. Run again what is named."
        for task in tasks
        if task.doubtful
    ]
