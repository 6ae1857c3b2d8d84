"""The trials of a study's tuning, read from their folders into one table."""

import re
from pathlib import Path

import pandas as pd

from amplitune.study.stored.stored_run import read_object
from amplitune.study.tuning.stored_trial import read_trial

CHOSEN = "chosen.json"
"""What tuning chose for a method on a task, beside its trials; where it stands, the tuning is complete."""

TUNING = "tuning.json"
"""What tuning varies for a method on a task, written before the first trial."""

TRIAL_COLUMNS = (
    *("task", "method", "trial", "status", "reason", "settings", "learning_rate"),
    *("score", "loss", "chosen", "edge", "seconds"),
)


def read_trials(directory: Path) -> pd.DataFrame:
    """Read every finished trial of a study, done or failed.

    Args:
        directory: the study's folder.

    Returns:
        One row a trial, sorted by task, method and number (columns `TRIAL_COLUMNS`): `settings` is a mapping
        from setting to value; `score` is the task's primary metric and `loss` the last loss, both on the
        validation split; `chosen` marks the one whose settings the runs take; `edge` names, with commas, the
        settings of that one which lie at the edge of their spaces, and is "" elsewhere. A missing number is
        NaN, a missing text None. No rows where nothing was tuned.
    """
    rows = []
    for method in sorted(path for path in Path(directory).glob("tuning/*/*") if path.is_dir()):
        spaces = (read_object(method / TUNING) or {}).get("spaces") or {}
        chosen = read_object(method / CHOSEN) or {}
        for folder in sorted(method.glob("trial-*")):
            # Not trial-000.partial, which is in flight, nor what was set aside.
            if not re.fullmatch(r"trial-\d{3,}", folder.name):
                continue
            number = int(folder.name.removeprefix("trial-"))
            trial = read_trial(folder, number, spaces)
            if trial is None:
                continue
            is_chosen = chosen.get("trial") == number
            edge = ", ".join(chosen.get("edge") or ()) if is_chosen else ""
            names = {"task": method.parent.name, "method": method.name}
            rows.append({**names, **vars(trial), "chosen": is_chosen, "edge": edge})
    return _typed(pd.DataFrame(rows, columns=list(TRIAL_COLUMNS)))


def _typed(trials: pd.DataFrame) -> pd.DataFrame:
    for column in ("learning_rate", "score", "loss", "seconds"):
        trials[column] = pd.to_numeric(trials[column], errors="coerce").astype("float64")
    for column in ("task", "method", "status", "reason", "edge"):
        values = [None if pd.isna(value) else str(value) for value in trials[column]]
        trials[column] = pd.Series(values, index=trials.index, dtype="object")
    return trials.astype({"trial": "int64", "chosen": "bool"})
