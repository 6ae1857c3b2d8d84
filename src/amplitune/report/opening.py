"""The opening of a report in words: what was found."""

from collections.abc import Container, Sequence

from amplitune.report.columns import METRICS
from amplitune.report.units import significant
from amplitune.report.words import capital, joined, sentence
from amplitune.study.statistics.findings import Comparison, Findings, TaskCheck

TESTED = ("better", "worse", "cannot distinguish")
_VIEWS = {"tuned": "With each method tuned", "matched": "At matched parameters"}


def signed(metric: str, value: float) -> str:
    """Write a difference in a metric's own unit, with its sign.

    Example:
        >>> signed("bleu", 3.21), signed("accuracy", -0.0412)
        ('+3.2 BLEU', '−0.041 accuracy')
    """
    column = METRICS.get(metric)
    label = column.label if column else metric
    name = label.lower() if label in ("Accuracy", "Perplexity") else label
    return f"{with_sign(metric, value)} {name}"


def with_sign(metric: str, value: float) -> str:
    """Write a difference in a metric's digits, with its sign and without its unit.

    Example:
        >>> with_sign("bleu", 3.21), with_sign("accuracy", -0.04), with_sign("accuracy", -0.0001)
        ('+3.2', '−0.040', '0.000')
    """
    text = METRICS[metric].write(value) if metric in METRICS else significant(value)
    if not any(digit in "123456789" for digit in text):
        return text.removeprefix("−")
    return text if text.startswith("−") else f"+{text}"


def what_was_found(found: Findings, tuned: bool, references: Container[str] = ()) -> list[str]:
    """Say what a study has found: tasks that rank nothing first, then the verdicts, then the controls.

    Args:
        found: what the statistics say.
        tuned: the settings of each method were tuned; otherwise the views say that they were given.
        references: methods that check a task, of which nobody is told that they are worse than the baseline.

    Returns:
        Paragraphs; at least one.
    """
    news = [c for c in found.comparisons if not (c.method in references and c.verdict == "worse")]
    paragraphs = [_checks(found.checks)]
    for view, opening in _VIEWS.items():
        words = opening if tuned or view != "tuned" else "With the settings given"
        paragraphs.append(_verdicts([c for c in news if c.view == view], words))
    paragraphs.append(_controls([c for c in news if c.view == "control"]))
    if not any(comparison.verdict in TESTED for comparison in found.comparisons):
        paragraphs.append([f"No method was tested against {found.baseline or 'a baseline'}."])
    return [" ".join(sentences) for sentences in paragraphs if sentences]


def _checks(checks: Sequence[TaskCheck]) -> list[str]:
    sentences = [
        f"The task {check.task} ranks nothing. {sentence(check.reason)}"
        for check in checks
        if check.ranks is False
    ]
    passed = [check.task for check in checks if check.ranks]
    if passed:
        sentences.append(
            f"The {'task' if len(passed) == 1 else 'tasks'} {joined(passed)} can tell methods apart: full "
            "fine-tuning is better there than the untouched model and than biases alone."
        )
    return sentences


def _verdicts(comparisons: Sequence[Comparison], opening: str) -> list[str]:
    """One sentence for all tasks with the same verdicts, those that tell no method from the baseline last."""
    by_task: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.verdict in TESTED:
            by_task.setdefault(comparison.task, []).append(comparison)
    alike = [task for task, own in by_task.items() if all(c.verdict == "cannot distinguish" for c in own)]
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for task, own in by_task.items():
        if task not in alike:
            groups.setdefault(tuple((c.method, c.verdict) for c in own), []).append(task)
    sentences = [
        f"on {joined(tasks)}, {_on_tasks([by_task[t] for t in tasks])}." for tasks in groups.values()
    ]
    if alike:
        methods = list(dict.fromkeys(c.method for task in alike for c in by_task[task]))
        nobody = f"{methods[0]} cannot" if len(methods) == 1 else "none of the methods can"
        sentences.append(
            f"on {joined(alike)}, {nobody} be distinguished from {by_task[alike[0]][0].baseline}."
        )
    if sentences:
        sentences[0] = f"{opening}, {sentences[0]}"
    return [capital(text) for text in sentences]


def _on_tasks(tasks: Sequence[Sequence[Comparison]]) -> str:
    """What is said of the methods on tasks with the same verdicts; the baseline is named once."""
    clauses = []
    baseline = tasks[0][0].baseline
    for verdict in TESTED:
        places = [index for index, c in enumerate(tasks[0]) if c.verdict == verdict]
        if not places:
            continue
        if verdict == "cannot distinguish":
            names = joined(tasks[0][index].method for index in places)
            clauses.append(f"{names} cannot be distinguished from {baseline}")
        else:
            verb = "is" if len(places) == 1 else "are"
            names = joined(_with_differences([own[index] for own in tasks]) for index in places)
            clauses.append(f"{names} {verb} {verdict} than {baseline}")
        baseline = "it"
    return "; ".join(clauses)


def _with_differences(comparisons: Sequence[Comparison]) -> str:
    """A method with its differences, one for each task; their unit is written once where it is one."""
    known = [signed(c.metric, c.difference) for c in comparisons if c.difference is not None]
    if not known:
        return comparisons[0].method
    if len({c.metric for c in comparisons}) == 1:
        *first, last = known
        known = [*(text.partition(" ")[0] for text in first), last]
    return f"{comparisons[0].method} ({joined(known)})"


def _controls(comparisons: Sequence[Comparison]) -> list[str]:
    """For each method with controls: those that do better, those that do as well, those that it beats."""
    sentences = []
    for method in dict.fromkeys(c.baseline for c in comparisons):
        verdicts = {
            verdict: _where([c for c in comparisons if c.baseline == method and c.verdict == verdict])
            for verdict in TESTED
        }
        for verdict, (one, many) in _OF_CONTROLS.items():
            if controls := verdicts[verdict]:
                words = one if sum(controls.values()) == 1 else many
                sentences.append(words.format(method=method, controls="; ".join(controls)))
    return sentences


_OF_CONTROLS = {
    "better": (
        "A control is even better than {method}: {controls}.",
        "Controls are even better than {method}: {controls}.",
    ),
    "cannot distinguish": (
        "A control does as well as {method}, as far as these runs can tell: {controls}. "
        "What it lacks is not shown to matter there.",
        "Controls do as well as {method}, as far as these runs can tell: {controls}. "
        "What they lack is not shown to matter there.",
    ),
    "worse": (
        "A control falls behind {method}: {controls}.",
        "Controls fall behind {method}: {controls}.",
    ),
}


def _where(comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Controls with the tasks that a verdict holds on, and how many: those of the same tasks together."""
    tasks: dict[str, list[str]] = {}
    for comparison in comparisons:
        tasks.setdefault(comparison.method, []).append(comparison.task)
    groups: dict[tuple[str, ...], list[str]] = {}
    for control, own in tasks.items():
        groups.setdefault(tuple(own), []).append(control)
    return {f"{joined(controls)} on {joined(own)}": len(controls) for own, controls in groups.items()}
