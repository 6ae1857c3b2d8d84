"""Every method of a study over all tasks that it can be compared on."""

from collections.abc import Sequence

import numpy as np

from amplitune.study.statistics.across import Interval, interquartile_mean, probability_of_improvement
from amplitune.study.statistics.comparison import SEEDS_FOR_A_CLAIM, compare
from amplitune.study.statistics.measured import Measured
from amplitune.study.statistics.statements import AcrossTasks
from amplitune.study.statistics.verdicts import gain
from amplitune.study.statistics.views import Pair

_FEWEST_TASKS = 2


def over_tasks(
    tasks: Sequence[Measured], pairs: Sequence[Pair], base: str | None
) -> tuple[list[AcrossTasks], list[str]]:
    """Take each method's tasks together.

    Scores are scaled so that on each task the untouched model's mean is 0 and the baseline's is 1: the
    baseline is what the study declares its methods to be compared with, and a study of a large model may be
    without full fine-tuning. Where the baseline is not better than the untouched model by more than the
    detectable difference, the scale would be noise, and the task stays out of the interquartile mean. The two
    means are taken as given: the interval is of the method's own seeds.

    Args:
        tasks: the runs of each task that can rank methods.
        pairs: what is compared with what.
        base: the name of the untouched model, if the study has it.

    Returns:
        A statement for each pair that has two tasks or more, and notes on tasks that were left out.
    """
    found, notes = [], []
    scalable = {
        baseline: [task for task in tasks if _scalable(task, base, baseline)]
        for baseline in dict.fromkeys(pair.baseline for pair in pairs)
    }
    for baseline, usable in scalable.items():
        left_out = [task.task for task in tasks if baseline in task.values and task not in usable]
        if base and base != baseline and left_out and len(tasks) >= _FEWEST_TASKS:
            notes.append(
                f"{', '.join(left_out)}: {baseline} is not known to be better than {base} by more than the "
                "detectable difference, so a scale between the two would be noise. Left out of the "
                f"interquartile means against {baseline}."
            )
    for pair in pairs:
        common = [task for task in tasks if pair.method in task.values and pair.baseline in task.values]
        if pair.method == base or len(common) < _FEWEST_TASKS:
            continue
        middle = _middle(pair, base, [task for task in common if task in scalable[pair.baseline]])
        ours, theirs = ([_oriented(task, name) for task in common] for name in (pair.method, pair.baseline))
        wins = probability_of_improvement(ours, theirs, SEEDS_FOR_A_CLAIM)
        found.append(
            AcrossTasks(
                method=pair.method,
                view=pair.view,
                baseline=pair.baseline,
                tasks=tuple(task.task for task in common),
                iqm=middle.value if middle else None,
                iqm_low=middle.low if middle else None,
                iqm_high=middle.high if middle else None,
                improvement=wins.value,
                low=wins.low,
                high=wins.high,
            )
        )
    return found, notes


def _scalable(task: Measured, base: str | None, baseline: str) -> bool:
    """Whether the untouched model and the baseline are far enough apart to be the 0 and 1 of a scale."""
    if base is None or base == baseline:
        return False
    between = compare(task, Pair(baseline, base, "reference"))
    return between.detectable is not None and gain(between) > between.detectable


def _middle(pair: Pair, base: str | None, tasks: Sequence[Measured]) -> Interval | None:
    if base is None or len(tasks) < _FEWEST_TASKS:
        return None
    scores = []
    for task in tasks:
        zero, one = (float(np.mean(list(task.values[name].values()))) for name in (base, pair.baseline))
        scores.append([(value - zero) / (one - zero) for value in task.values[pair.method].values()])
    return interquartile_mean(scores, SEEDS_FOR_A_CLAIM)


def _oriented(task: Measured, method: str) -> list[float]:
    sign = 1.0 if task.higher_is_better else -1.0
    return [sign * value for value in task.values[method].values()]
