"""The check of a task: whether it separates full fine-tuning from no training and from next to none."""

from collections.abc import Sequence
from dataclasses import replace

from amplitune.study.statistics.comparison import compare
from amplitune.study.statistics.measured import Measured
from amplitune.study.statistics.statements import Comparison, TaskCheck
from amplitune.study.statistics.verdicts import gain, with_verdicts
from amplitune.study.statistics.views import Pair, StudyMethod, reference

_REFERENCES = {
    "base": "the untouched model",
    "bias": "biases alone",
    "full": "full fine-tuning",
}
"""The methods that a task is checked with, and what they are."""


def check_tasks(tasks: Sequence[Measured], methods: list[StudyMethod]) -> list[TaskCheck]:
    """Check every task of a study.

    A task ranks methods if full fine-tuning is better than the untouched model and better than biases alone,
    both by more than the detectable difference. Where it is not, methods in between cannot be told apart
    either: whatever they differ by is within what the task does not resolve. Both must hold, and each at its
    own level, so nothing is adjusted for their number.

    Args:
        tasks: the runs of each task.
        methods: the study's methods.

    Returns:
        One check per task.
    """
    names = {method: reference(methods, method) for method in _REFERENCES}
    base, bias, full = names["base"], names["bias"], names["full"]
    pairs = [Pair(full, other, "reference") for other in (base, bias) if full and other]
    judged = with_verdicts([compare(task, pair) for task in tasks for pair in pairs])
    missing = [method for method, name in names.items() if name is None]
    checks = []
    for task in tasks:
        mine = tuple(c for c in judged if c.task == task.task)
        ranks, reason = _unknown(missing) if missing else _separates(mine)
        checks.append(TaskCheck(task.task, task.metric, ranks, reason, mine))
    return checks


def withdraw_verdicts(comparisons: Sequence[Comparison], checks: Sequence[TaskCheck]) -> list[Comparison]:
    """Take back the verdicts on tasks that rank nothing; the numbers stay.

    Args:
        comparisons: of any view but "reference".
        checks: of all tasks.

    Returns:
        The same in the same order.
    """
    failed = {check.task: check for check in checks if check.ranks is False}
    return [
        replace(c, verdict="not tested", reason=f"The task ranks nothing: {_lowered(failed[c.task].reason)}")
        if c.task in failed
        else c
        for c in comparisons
    ]


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _unknown(missing: list[str]) -> tuple[bool | None, str]:
    what = " and ".join(f"{method} ({_REFERENCES[method]})" for method in missing)
    return None, f"The task was not checked. Add to the study's methods: {what}."


def _separates(comparisons: tuple[Comparison, ...]) -> tuple[bool | None, str]:
    untested = [c for c in comparisons if c.p is None]
    if untested:
        c = untested[0]
        return None, f"The task was not checked, because {c.method} against {c.baseline} was not: {c.reason}"
    ties = [c for c in comparisons if gain(c) <= (c.detectable or 0.0)]
    if not ties:
        than = " and ".join(f"{c.baseline} by {gain(c):.3g}" for c in comparisons)
        return True, f"Full fine-tuning is better than {than}, more than the detectable difference."
    return False, f"Full fine-tuning is not better than {' and '.join(map(_tie, ties))}."


def _tie(c: Comparison) -> str:
    return f"{c.baseline} by more than the detectable {c.detectable or 0.0:.2g} (measured: {gain(c):.2g})"
