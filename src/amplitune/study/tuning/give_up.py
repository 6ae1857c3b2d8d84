"""Giving up a trial whose process died, so that the tuning can go on with the next one."""

import re
from datetime import UTC, datetime
from pathlib import Path

import yaml

from amplitune.study.atomic import PARTIAL
from amplitune.study.running.rundir import RunDirectory
from amplitune.study.settings.config import RunSpec
from amplitune.study.tuning.chosen import tuning_folder


def trial_in_flight(spec: RunSpec, directory: Path) -> Path | None:
    """The folder of the trial that a tuning is doing, or was doing when its process died.

    Args:
        spec: a run of the method on the task that is tuned.
        directory: the study's folder.
    """
    folder = tuning_folder(directory, spec.task.name, spec.method.name)
    for path in sorted(folder.glob(f"trial-*{PARTIAL}")):
        if re.fullmatch(rf"trial-\d{{3,}}{re.escape(PARTIAL)}", path.name):
            return path
    return None


def give_up_trial(spec: RunSpec, directory: Path, reason: str) -> bool:
    """Complete the trial that a dead tuning process was doing as a failed one.

    For whoever has seen the process die of it: one that the kernel killed for its memory would die of the
    same trial again. A tuning that was stopped from outside needs no such thing; it goes on with that trial.

    Args:
        spec: a run of the method on the task that was tuned.
        directory: the study's folder.
        reason: what is known of the death.

    Returns:
        Whether there was such a trial; if not, the process died of something else.
    """
    path = trial_in_flight(spec, directory)
    if path is None:
        return False
    try:
        values = yaml.safe_load((path / "run.resolved.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # it died before the trial began
    trial = RunDirectory(directory, RunSpec.parse(values), directory, adopt=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    trial.complete({"status": "failed", "reason": reason, "finished": now, "seconds": trial.seconds})
    return True
