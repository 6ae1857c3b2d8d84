"""Which trial of a tuning is best."""

from collections.abc import Iterable
from typing import Literal

from amplitune.study.tuning.stored_trial import StoredTrial

SelectBy = Literal["primary_metric", "validation_loss"]


def merit(trial: StoredTrial, select_by: SelectBy, higher_is_better: bool) -> tuple[float, float] | None:
    """How good a trial is on validation, as a pair that is compared from the left; larger is better.

    Args:
        trial: the trial.
        select_by: by the task's primary metric, ties to the lower loss; or by the loss, ties to the metric.
        higher_is_better: whether a larger value of the metric is the better one.

    Returns:
        None if the trial cannot be chosen: it failed, or has no value to be chosen by.
    """
    worst = float("-inf")
    score = worst if trial.score is None else trial.score if higher_is_better else -trial.score
    loss = worst if trial.loss is None else -trial.loss
    pair = (score, loss) if select_by == "primary_metric" else (loss, score)
    return None if trial.status != "done" or pair[0] == worst else pair


def best_trial(
    trials: Iterable[StoredTrial], select_by: SelectBy, higher_is_better: bool
) -> StoredTrial | None:
    """The best trial, the earliest of equals; None if none can be chosen."""
    best, best_merit = None, None
    for trial in trials:
        found = merit(trial, select_by, higher_is_better)
        if found is not None and (best_merit is None or found > best_merit):
            best, best_merit = trial, found
    return best
