"""The statements that the statistics make about a study, as plain values."""

from dataclasses import dataclass
from typing import Literal

View = Literal["tuned", "matched", "control", "reference"]
Verdict = Literal["better", "worse", "cannot distinguish", "not tested"]


@dataclass(frozen=True)
class Estimate:
    """A method's score on a task over its seeds, in the primary metric's own unit.

    Args:
        task: the task.
        method: the method.
        n_seeds: the runs that ended with a finite value.
        mean: their mean.
        low: lower end of the 95 % Student t interval of the mean over seeds; None under 2 seeds.
        high: upper end.
    """

    task: str
    method: str
    n_seeds: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline on a task, paired by seed and by test example.

    None stands for what could not be computed; no number is ever NaN or infinite.

    Args:
        task: the task.
        method: what is compared.
        baseline: what it is compared with.
        metric: the task's primary metric.
        view: "tuned" (methods of the study against its baseline), "matched" (the same at matched parameters),
            "control" (a control against the method that it is a control of) or "reference" (full fine-tuning
            against the base model and against biases alone, which checks the task).
        n_seeds: seeds that both have.
        difference: mean of method - baseline over these seeds, in the metric's own unit; for a metric where
            lower is better, a negative difference is the better one. None without a common seed.
        low: lower end of the 95 % interval of the difference, seeds and test examples both counted, without
            adjustment for the other comparisons; None under 5 common seeds.
        high: upper end.
        seed_error: standard error of the difference that is due to the seeds; None as for `low`.
        example_error: standard error of the difference that is due to the test examples; None as for `low`.
        p: two-sided p value of no difference; None as for `low`.
        p_adjusted: the same after Holm, in the family of all comparisons of its view over all tasks.
        detectable: the smallest true difference that this comparison would find with probability 0.8 at level
            0.05, were it the only one; None as for `low`.
        verdict: what is said of the method: "better", "worse", "cannot distinguish" or "not tested".
        reason: why it is "not tested"; empty otherwise.
    """

    task: str
    method: str
    baseline: str
    metric: str
    view: View
    n_seeds: int
    difference: float | None
    low: float | None
    high: float | None
    seed_error: float | None
    example_error: float | None
    p: float | None
    p_adjusted: float | None
    detectable: float | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class TaskCheck:
    """Whether a task can rank methods at all.

    Args:
        task: the task.
        metric: its primary metric.
        ranks: True: full fine-tuning is better than the base model and than biases alone, each by more than
            the detectable difference. False: it is not, and the task ranks nothing. None: not known.
        reason: a sentence that says why; where it is not known, what to add to the study.
        comparisons: full fine-tuning against the base model and against biases alone, of view "reference".
    """

    task: str
    metric: str
    ranks: bool | None
    reason: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class AcrossTasks:
    """A method over all tasks that it can be compared on.

    Args:
        method: the method.
        view: as in `Comparison`; never "reference".
        baseline: the method of score 1, over which `improvement` is counted.
        tasks: the tasks that enter.
        iqm: interquartile mean over seeds and tasks of scores scaled so that on each task the mean of the
            base model is 0 and that of the baseline is 1; None where the base model is missing.
        iqm_low: lower end of its 95 % interval over seeds; None under 5 seeds on one of the tasks.
        iqm_high: upper end.
        improvement: probability that a run of the method beats a run of the baseline, mean over tasks; a tie
            counts half.
        low: lower end of its 95 % interval over seeds; None as for `iqm_low`.
        high: upper end.
    """

    method: str
    view: View
    baseline: str
    tasks: tuple[str, ...]
    iqm: float | None
    iqm_low: float | None
    iqm_high: float | None
    improvement: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Findings:
    """All that is said about a study.

    Args:
        baseline: the study's baseline.
        estimates: a score per task and method, in the order of the results.
        comparisons: views "tuned", "matched" and "control"; those of view "reference" are in `checks`.
        checks: one per task.
        across: one per method and view, where two tasks or more can be taken together.
        notes: sentences a reader needs: runs that are missing, tasks that were left out, and why.
    """

    baseline: str
    estimates: tuple[Estimate, ...]
    comparisons: tuple[Comparison, ...]
    checks: tuple[TaskCheck, ...]
    across: tuple[AcrossTasks, ...]
    notes: tuple[str, ...]
