"""The results of a study: its run folders read into one table, loss curves and predictions."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from amplitune.errors import ConfigError
from amplitune.study.atomic import replacing
from amplitune.study.metrics import METRICS
from amplitune.study.stored.result_columns import (
    CURVE_COLUMNS,
    EFFICIENCY,
    LEARNED,
    MODULE_COLUMNS,
    PREDICTION_COLUMNS,
    QUALITY,
    TABLE_COLUMNS,
    TEXT,
)
from amplitune.study.stored.stored_run import (
    curve_point,
    measurements,
    prediction,
    read_command,
    read_lines,
    read_object,
    read_status,
    read_task,
)
from amplitune.study.tuning.trials import read_trials

BASE = "base"  # the untouched model: evaluated, never trained

LOWER_IS_BETTER = frozenset(name for name, metric in METRICS.items() if not metric.higher_is_better)


@dataclass(frozen=True)
class Results:
    """What the runs of one study left behind.

    A missing number is NaN and a missing text is None; neither is ever replaced by a sentinel.

    Args:
        study: the content of study.resolved.yaml.
        table: one row per finished run, done or failed (columns `TABLE_COLUMNS`).
        curves: one row per logged loss (columns `CURVE_COLUMNS`); `split` is "train" or "validation".
        predictions: one row per run and test example (columns `PREDICTION_COLUMNS`); `references` is a list,
            `sums` maps a metric to the example's part of its sums.
        modules: one row per run and module: what training changed there (columns `MODULE_COLUMNS` and more).
        trials: one row per finished trial of tuning, as `read_trials` gives them.
        environments: key -> the content of env.json; the table's column `environment` holds the key.
    """

    study: dict[str, Any]
    table: pd.DataFrame
    curves: pd.DataFrame
    predictions: pd.DataFrame
    modules: pd.DataFrame
    trials: pd.DataFrame
    environments: dict[str, dict[str, Any]]


def load_results(directory: Path) -> Results:
    """Read the folder of a study, finished or not, from what its runs have written.

    A run without status.json is in flight and is left out; a run that failed is a row with its reason.

    Args:
        directory: the study's folder, as `amplitune compare` writes it.

    Returns:
        The results, rows in the study's order of tasks, methods and seeds.

    Raises:
        ConfigError: `directory` is not the folder of a study.
    """
    directory = Path(directory)
    study = _read_study(directory)
    tasks = {str(task.get("name")): task for task in study.get("tasks") or () if isinstance(task, Mapping)}
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    modules: list[dict[str, Any]] = []
    environments: dict[str, dict[str, Any]] = {}
    for folder, task, method, seed in _run_folders(directory, list(tasks), method_names(study)):
        status = read_status(folder)
        if status is None:
            continue
        run = {"task": task, "method": method, "seed": seed}
        events = list(read_lines(folder / "metrics.jsonl"))
        row = measurements(events) | run | _describe(folder, status, tasks.get(task, {}), environments)
        rows.append(row | {"primary_value": row.get(str(row["primary_metric"]))})
        curves.extend(run | point for point in map(curve_point, events) if point)
        predictions.extend(run | prediction(line) for line in read_lines(folder / "predictions.jsonl"))
        modules.extend(run | line for line in read_lines(folder / "modules.jsonl"))
    return Results(
        study=study,
        table=_table(rows),
        curves=_curves(curves),
        predictions=_predictions(predictions),
        modules=_modules(modules),
        trials=read_trials(directory),
        environments=environments,
    )


def write_results(results: Results, directory: Path) -> Path:
    """Write the table of `results` to `directory`/results.parquet, whole or not at all.

    Args:
        results: what `load_results` returned.
        directory: the study's folder.

    Returns:
        The path of the file.
    """
    path = Path(directory) / "results.parquet"
    with replacing(path) as partial:
        results.table.to_parquet(partial, index=False)
    return path


def method_names(study: Mapping[str, Any]) -> list[str]:
    """List the names of a study's methods in its order, the untouched model first.

    Args:
        study: the content of study.resolved.yaml; `methods` are names or mappings with `name` or `method`.

    Example:
        >>> method_names({"methods": ["full", "base", {"name": "qaa-2", "method": "qaa"}]})
        ['base', 'full', 'qaa-2']
    """
    methods = [
        str(method.get("name") or method.get("method")) if isinstance(method, Mapping) else str(method)
        for method in study.get("methods") or ()
    ]
    return sorted(methods, key=lambda name: name != BASE)


def _read_study(directory: Path) -> dict[str, Any]:
    path = directory / "study.resolved.yaml"
    advice = "Give the folder that `amplitune compare STUDY.yaml -o DIR` wrote."
    if not path.is_file():
        found = "has no study.resolved.yaml" if directory.is_dir() else "is not a folder"
        raise ConfigError(
            f"`directory` must be the folder of a study, but {str(directory)!r} {found}.\n{advice}"
        )
    try:
        study = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} must be YAML, but cannot be read: {error}\n{advice}") from error
    if not isinstance(study, dict):
        kind = type(study).__name__
        raise ConfigError(
            f"{str(path)!r} must be a mapping with tasks and methods, but is a {kind}.\n{advice}"
        )
    return study


def _run_folders(directory: Path, tasks: list[str], methods: list[str]) -> list[tuple[Path, str, str, int]]:
    """Folders of runs in the study's order; runs that it no longer names come last."""
    found = []
    for folder in directory.glob("runs/*/*/seed-*"):
        seed = re.fullmatch(r"seed-(\d+)", folder.name)  # not seed-0.partial-123, a run being written
        if seed and folder.is_dir():
            found.append((folder, folder.parent.parent.name, folder.parent.name, int(seed[1])))

    def place(names: list[str], name: str) -> tuple[int, str]:
        position = -1 if name == BASE else len(names)
        return (names.index(name) if name in names else position, name)

    return sorted(found, key=lambda run: (place(tasks, run[1]), place(methods, run[2]), run[3]))


def _describe(
    folder: Path, status: dict[str, Any], task: Mapping[str, Any], environments: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """What a run was: its status, task, command and environment (added to `environments` if it is new)."""
    # A run knows its own task in full; the study's entry may leave to the data what depends on it.
    task = {**task, **{key: value for key, value in read_task(folder).items() if value is not None}}
    metric = task.get("primary_metric")
    environment = read_object(folder / "env.json")
    key = None
    if environment is not None:
        key = hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:8]
        environments[key] = environment
    return {
        "kind": task.get("kind"),
        "status": status["status"],
        "reason": status.get("reason"),
        "seconds": status.get("seconds"),
        "command": read_command(folder),
        "environment": key,
        "primary_metric": metric,
        "higher_is_better": metric not in LOWER_IS_BETTER,
    }


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    for column in ("primary_value", "seconds", *QUALITY, *EFFICIENCY, *LEARNED):
        table[column] = pd.to_numeric(table[column], errors="coerce").astype("float64")
    table["seed"] = table["seed"].astype("int64")
    table["higher_is_better"] = table["higher_is_better"].astype("bool")
    return _texts(table, TEXT)


def _curves(points: list[dict[str, Any]]) -> pd.DataFrame:
    curves = pd.DataFrame(points, columns=list(CURVE_COLUMNS))
    for column in ("step", "tokens", "seconds", "loss", "grad_norm"):
        curves[column] = pd.to_numeric(curves[column], errors="coerce").astype("float64")
    curves["seed"] = curves["seed"].astype("int64")
    # A resumed run logs the steps after its last checkpoint again: the later line is the one that counts.
    curves = curves.drop_duplicates(
        ["task", "method", "seed", "split", "step"], keep="last", ignore_index=True
    )
    return _texts(curves, ("task", "method", "split"))


def _predictions(lines: list[dict[str, Any]]) -> pd.DataFrame:
    predictions = pd.DataFrame(lines, columns=list(PREDICTION_COLUMNS))
    predictions["seed"] = predictions["seed"].astype("int64")
    return _texts(predictions, ("task", "method", "prompt", "prediction"))


def _modules(lines: list[dict[str, Any]]) -> pd.DataFrame:
    names = dict.fromkeys([*MODULE_COLUMNS, *(key for line in lines for key in line)])
    modules = pd.DataFrame(lines, columns=list(names))
    for column in modules.columns.difference(["task", "method", "seed", "module"]):
        modules[column] = pd.to_numeric(modules[column], errors="coerce").astype("float64")
    modules["seed"] = modules["seed"].astype("int64")
    return _texts(modules, ("task", "method", "module"))


def _texts(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Make text columns objects with None for a missing text; what pandas infers differs by version."""
    for column in columns:
        values = [None if pd.isna(value) else str(value) for value in frame[column]]
        frame[column] = pd.Series(values, index=frame.index, dtype="object")
    return frame
