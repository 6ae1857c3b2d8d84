"""Comparisons as tables: each method against its baseline, with the verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from amplitune.report.columns import METRICS
from amplitune.report.opening import with_sign
from amplitune.report.words import joined, sentence
from amplitune.study.statistics.findings import AcrossTasks, Comparison, Findings

MIXED = "†"
"""Marks a comparison of rows that were made in different environments."""

_TITLES = {
    "tuned": "Best settings",
    "matched": "Matched parameters",
    "control": "Controls",
    "reference": "Check of the task",
}
UNTUNED = "Settings as given"


@dataclass(frozen=True)
class VerdictRow:
    """A comparison as it is written; an empty text is what could not be computed."""

    comparison: Comparison
    difference: str
    interval: str
    seed_error: str
    example_error: str
    detectable: str
    p: str
    mixed: bool

    @property
    def tone(self) -> str:
        """The verdict as a word for a class: better, worse, alike, untested."""
        names = {"cannot distinguish": "alike", "not tested": "untested"}
        return names.get(self.comparison.verdict, self.comparison.verdict)


@dataclass(frozen=True)
class VerdictTable:
    """The comparisons of one view on one task with one baseline; `reasons` say why some are not tested."""

    view: str
    title: str
    baseline: str
    metric: str
    rows: tuple[VerdictRow, ...]
    reasons: tuple[str, ...]

    @property
    def bare(self) -> bool:
        """Whether no comparison has more than a difference."""
        return not any(row.interval or row.p for row in self.rows)


@dataclass(frozen=True)
class AcrossRow:
    """A method over several tasks as it is written."""

    across: AcrossTasks
    iqm: str
    iqm_interval: str
    improvement: str
    improvement_interval: str


def metric_label(metric: str) -> str:
    """How a metric is called in a table."""
    return METRICS[metric].label if metric in METRICS else metric


def write_difference(metric: str, value: float | None) -> str:
    """Write a difference with its sign in the metric's digits, without the unit; empty where there is none.

    Example:
        >>> write_difference("bleu", 3.21), write_difference("bleu", None)
        ('+3.2', '')
    """
    return "" if value is None else with_sign(metric, value)


def write_interval(metric: str, low: float | None, high: float | None) -> str:
    """Write the interval of a difference; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"{write_difference(metric, low)} to {write_difference(metric, high)}"


def write_p(p: float | None) -> str:
    """Write a p value.

    Example:
        >>> write_p(0.0423), write_p(0.00001), write_p(None)
        ('0.042', '< 0.001', '')
    """
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def verdict_tables(
    comparisons: Iterable[Comparison], tuned: bool, mixed: Iterable[tuple[str, str, str]] = ()
) -> list[VerdictTable]:
    """Lay the comparisons of one task out, a table for each view and baseline.

    Args:
        comparisons: what is compared on the task.
        tuned: the settings of each method were tuned.
        mixed: task, method and baseline of comparisons whose rows come from different environments.

    Returns:
        Tables in the order: tuned, matched, control, reference.
    """
    marked = set(mixed)
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault((comparison.view, comparison.baseline), []).append(comparison)
    order = list(_TITLES)
    tables = []
    for (view, baseline), own in sorted(groups.items(), key=lambda group: order.index(group[0][0])):
        title = _TITLES[view] if tuned or view != "tuned" else UNTUNED
        reasons = dict.fromkeys(sentence(c.reason) for c in own if c.verdict == "not tested" and c.reason)
        rows = tuple(_row(c, (c.task, c.method, c.baseline) in marked) for c in own)
        tables.append(VerdictTable(view, title, baseline, own[0].metric, rows, tuple(reasons)))
    return tables


def _row(c: Comparison, mixed: bool) -> VerdictRow:
    def error(value: float | None) -> str:
        return write_difference(c.metric, value).lstrip("+")

    return VerdictRow(
        c,
        write_difference(c.metric, c.difference),
        write_interval(c.metric, c.low, c.high),
        error(c.seed_error),
        error(c.example_error),
        error(c.detectable),
        write_p(c.p_adjusted),
        mixed,
    )


def across_rows(found: Findings) -> list[AcrossRow]:
    """Lay out what is said of the methods over all tasks."""
    return [
        AcrossRow(
            one,
            "" if one.iqm is None else _plain(one.iqm),
            _range(one.iqm_low, one.iqm_high),
            _plain(one.improvement),
            _range(one.low, one.high),
        )
        for one in found.across
    ]


def verdict_of(found: Findings, task: str, method: str) -> str:
    """The verdict on a method on a task in a few words, as a column beside its numbers.

    Returns:
        What its own view says (for a control, against its method), "baseline" for what the others are
        compared with, empty where nothing is said.
    """
    own = [c for c in found.comparisons if c.task == task]
    for c in own:
        if c.method == method:
            return c.verdict
    baselines = {c.baseline for c in own if c.view in ("tuned", "matched")}
    return "baseline" if method in baselines or method == found.baseline else ""


def controls_in_words(table: VerdictTable) -> list[str]:
    """Say of each control how it stands to its method."""
    sentences = []
    for verdict, (one, many, hedge) in _CONTROL_WORDS.items():
        names = [row.comparison.method for row in table.rows if row.comparison.verdict == verdict]
        if names:
            subject, verb = ("The control", one) if len(names) == 1 else ("The controls", many)
            sentences.append(f"{subject} {joined(names)} {verb} {table.baseline}{hedge}.")
    return sentences


_CONTROL_WORDS = {
    "better": ("is even better than", "are even better than", ""),
    "cannot distinguish": ("does as well as", "do as well as", ", as far as these runs can tell"),
    "worse": ("is worse than", "are worse than", ""),
    "not tested": ("is not tested against", "are not tested against", ""),
}


def mixed_comparisons(
    comparisons: Sequence[Comparison], environments: Mapping[tuple[str, str], set[str | None]]
) -> set[tuple[str, str, str]]:
    """Find the comparisons whose rows come from more than one environment.

    Args:
        comparisons: any.
        environments: (task, method) -> keys of the environments of its done rows.
    """
    return {
        (c.task, c.method, c.baseline)
        for c in comparisons
        if len(environments.get((c.task, c.method), set()) | environments.get((c.task, c.baseline), set()))
        > 1
    }


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_plain(low)} to {_plain(high)}"
