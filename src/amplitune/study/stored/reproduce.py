"""Doing a stored run again, to see whether its numbers come back."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from amplitune.errors import ConfigError, near_matches
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.statistics.intervals import critical_value
from amplitune.study.stored.provenance import DIRTY, Difference, differences
from amplitune.study.stored.result_columns import LEARNED, QUALITY
from amplitune.study.stored.stored_run import measurements, read_lines, read_object, read_status

COMPARED = (*QUALITY, *LEARNED, "trainable_parameters", "angles")
"""What a run gives again from the same seed; times, memory and energy are the machine's."""

Answer = Literal["identical", "within", "outside", "unknown"]


@dataclass(frozen=True)
class StoredRow:
    """A run of a study as its folder holds it.

    Args:
        name: TASK/METHOD/seed-N.
        directory: the study's folder.
        spec: the run, tuned already if its study tunes.
        status: the content of status.json.
        environment: the content of env.json, empty where there is none.
        measured: its numbers.
        seeds: metric -> its values over the done seeds of the same task and method, this run's among them.
    """

    name: str
    directory: Path
    spec: RunSpec
    status: dict[str, Any]
    environment: dict[str, Any]
    measured: dict[str, float]
    seeds: dict[str, list[float]]


@dataclass(frozen=True)
class Outcome:
    """One number, stored and again.

    Args:
        metric: its name in the results table.
        stored: the stored value.
        again: the new one; None if the new run does not have it, which counts as outside.
        low: lower end of the 95 % interval of one more run of the same task and method; None under two seeds.
        high: upper end.
        answer: "identical" (to the last bit), "within" the interval, "outside" of it, or "unknown" where one
            seed gives no interval to judge by.
    """

    metric: str
    stored: float
    again: float | None
    low: float | None
    high: float | None
    answer: Answer


@dataclass(frozen=True)
class Reproduction:
    """How a run that was done again compares with the stored one."""

    row: StoredRow
    status: dict[str, Any]
    outcomes: tuple[Outcome, ...]

    @property
    def same_ending(self) -> bool:
        """Whether both are done, or both failed with the same reason."""
        ended, before = self.status, self.row.status
        same = ended["status"] == before["status"]
        return same and (ended["status"] == "done" or ended.get("reason") == before.get("reason"))

    @property
    def holds(self) -> bool:
        """Whether the stored run stands: it ended alike, and every number is identical or in its interval."""
        return self.same_ending and all(one.answer in ("identical", "within") for one in self.outcomes)

    @property
    def identical(self) -> bool:
        """Whether every number is identical."""
        return self.same_ending and all(one.answer == "identical" for one in self.outcomes)


def find_row(directory: Path, name: str) -> StoredRow:
    """Read the row of a study that is to be done again.

    Args:
        directory: the study's folder.
        name: TASK/METHOD/seed-N, as the report's list of runs has it.

    Raises:
        ConfigError: there is no such row, or its folder cannot be read.
    """
    runs = Path(directory) / "runs"
    rows = {
        "/".join(folder.relative_to(runs).parts): folder
        for folder in sorted(runs.glob("*/*/seed-*"))
        if folder.name.removeprefix("seed-").isdecimal() and read_status(folder) is not None
    }
    given = name.strip("/").removeprefix("runs/")
    if given not in rows:
        if not rows:
            raise ConfigError(
                f"`DIR` must be the folder of a study with finished runs, but {directory} has none. "
                "Give the folder that `amplitune compare STUDY.yaml -o DIR` wrote."
            )
        raise ConfigError(
            f"`ROW` must be TASK/METHOD/seed-N of a finished run in {directory}, but is {name!r}. "
            + near_matches(given, rows)
        )
    folder = rows[given]
    seeds: dict[str, list[float]] = {}
    for key, other in rows.items():
        if key.rpartition("/")[0] == given.rpartition("/")[0]:
            for metric, value in _measured(other).items():
                seeds.setdefault(metric, []).append(value)
    return StoredRow(
        name=given,
        directory=Path(directory),
        spec=_read_spec(folder / "run.resolved.yaml"),
        status=read_status(folder) or {},
        environment=read_object(folder / "env.json") or {},
        measured=_measured(folder),
        seeds=seeds,
    )


def differences_here(row: StoredRow) -> tuple[tuple[Difference, ...], bool]:
    """Compare the environment of a stored run with this process, set up for the run.

    Returns:
        What differs (`usual` stored, `other` here); and whether code with changes that no commit holds is
        among the two, so that equal commits do not mean equal code.
    """
    from amplitune.study.running.environment import describe_environment
    from amplitune.study.running.fit import prepare

    prepare(row.spec)
    here = describe_environment()
    commits = (row.environment.get("amplitune_commit"), here.get("amplitune_commit"))
    return differences(row.environment, here), any(str(commit or "").endswith(DIRTY) for commit in commits)


def reproduce(row: StoredRow, directory: Path) -> Reproduction:
    """Do a stored run again by the code that does every run, and compare.

    Args:
        row: what `find_row` returned; nothing of it is changed.
        directory: where the new run's folder is made, as in a study's.

    Returns:
        The comparison of every number that a run has besides those of the machine.

    Raises:
        ConfigError: the task cannot be read, or `directory` holds that run already.
    """
    from amplitune.study.running.run import run

    status = run(row.spec, directory, row.directory / "study.resolved.yaml")
    return compare(row, status, _measured(directory / row.spec.folder))


def compare(row: StoredRow, status: dict[str, Any], again: dict[str, float]) -> Reproduction:
    """Compare the numbers of a run with the stored ones.

    A new value is held against the interval that one more run of the same task and method falls into,
    `mean +- t_{n-1} s sqrt(1 + 1/n)` over the n stored seeds, and not against the narrower interval of the
    mean, which many single runs miss.

    Args:
        row: the stored run.
        status: how the new run ended.
        again: its numbers.
    """
    # What an older version did not measure cannot be compared.
    metrics = [metric for metric in COMPARED if metric in row.measured]
    return Reproduction(row, status, tuple(_outcome(row, metric, again.get(metric)) for metric in metrics))


def _outcome(row: StoredRow, metric: str, again: float | None) -> Outcome:
    stored, values = row.measured[metric], row.seeds.get(metric, [])
    low, high = prediction_interval(values) or (None, None)
    answer: Answer
    if again is None:
        answer = "outside"
    elif stored == again:
        answer = "identical"
    elif low is None or high is None:
        answer = "unknown"
    else:
        answer = "within" if low <= again <= high else "outside"
    return Outcome(metric, stored, again, low, high, answer)


def prediction_interval(values: list[float]) -> tuple[float, float] | None:
    """The 95 % interval of one more value beside independent, roughly normal ones.

    `mean +- t_{n-1} s sqrt(1 + 1/n)`

    Args:
        values: one a seed.

    Returns:
        Lower and upper end; None under two values.

    Example:
        >>> prediction_interval([1.0]) is None
        True
        >>> [round(end, 3) for end in prediction_interval([1.0, 2.0, 3.0])]
        [-2.968, 6.968]
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = critical_value(n - 1) * deviation * math.sqrt(1 + 1 / n)
    return mean - half, mean + half


def _measured(folder: Path) -> dict[str, float]:
    """The numbers of a done run that are compared."""
    if (read_status(folder) or {}).get("status") != "done":
        return {}
    found = measurements(list(read_lines(folder / "metrics.jsonl")))
    return {
        metric: float(found[metric])
        for metric in COMPARED
        if isinstance(found.get(metric), int | float) and not isinstance(found[metric], bool)
    }


def _read_spec(path: Path) -> RunSpec:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} must hold the settings of a run, but cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold the settings of a run, but holds {type(values).__name__}.")
    # An older version did not have every setting of today; what it did is what the default does.
    defaults = {
        name: field.default
        for name, field in StudyConfig.model_fields.items()
        if name in RunSpec.model_fields and not field.is_required()
    }
    missing = {name: value for name, value in defaults.items() if name not in values and name != "training"}
    # The settings that tuning chose are in it already; there is nothing to choose again.
    return RunSpec.parse({**missing, **values, "tuning": None}, str(path))
