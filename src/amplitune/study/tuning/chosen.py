"""The settings that tuning has chosen for a method on a task, and a run with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amplitune.errors import ConfigError
from amplitune.study.atomic import write_atomically
from amplitune.study.methods.registry import find_method
from amplitune.study.settings.config import RunSpec
from amplitune.study.settings.same_settings import differences
from amplitune.study.settings.training_config import TrainingConfig
from amplitune.study.stored.stored_run import read_object
from amplitune.study.tuning.search_spaces import search_spaces
from amplitune.study.tuning.space import Space
from amplitune.study.tuning.trials import CHOSEN

UNIMPORTANT = ("save_adapters", "threads", "seed", "trial")
"""Keys of a run in which the runs that a tuning serves differ, or that do not change what it finds."""


def tuning_folder(directory: Path, task: str, method: str) -> Path:
    """Where the tuning of a method on a task keeps its trials and its choice."""
    return directory / "tuning" / task / method


def spaces_of(spec: RunSpec) -> dict[str, Space]:
    """What is tuned for a run's method; empty where the study does not tune or nothing can be tuned."""
    if spec.tuning is None:
        return {}
    method = spec.method
    return search_spaces(
        find_method(method.method), method.config, method.search_space, method.matched_to is not None
    )


def with_settings(spec: RunSpec, settings: Mapping[str, Any]) -> RunSpec:
    """A run with settings of tuning over its own.

    Args:
        spec: the run.
        settings: `learning_rate`, `training.<key>` or `config.<key>` to value.
    """
    training: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for key, value in settings.items():
        place = config if key.startswith("config.") else training
        place[key.rpartition(".")[2]] = value
    method = spec.method.model_copy(update={"config": {**spec.method.config, **config}})
    return spec.model_copy(
        update={
            "method": method,
            "training": TrainingConfig.parse({**spec.training.model_dump(), **training}),
        }
    )


def tuned(spec: RunSpec, directory: Path) -> RunSpec:
    """A run with the settings that tuning has chosen for it.

    Args:
        spec: the run, as `StudyConfig.runs` gives it.
        directory: the study's folder.

    Returns:
        The run with the chosen settings; the run itself where the study does not tune or the method has
        nothing to tune.

    Raises:
        ConfigError: the tuning has not been done, or was done for a study with other settings.
    """
    if not spaces_of(spec):
        return spec
    path = tuning_folder(directory, spec.task.name, spec.method.name) / CHOSEN
    chosen = read_object(path)
    if chosen is None:
        options = f"--task {spec.task.name} --method {spec.method.name} -o {directory}"
        raise ConfigError(
            f"{spec.label} needs the settings that tuning chooses, but {path} is not there.\n"
            f"Run `amplitune tune STUDY.yaml {options}` before, or `amplitune compare`, which does it first."
        )
    changed = differences(chosen.get("run"), what_is_tuned(spec))
    if spec.task.kind is None:
        # The data was not looked at yet, on which these depend.
        changed = [key for key in changed if key not in ("task.kind", "task.metrics", "task.primary_metric")]
    if changed:
        raise ConfigError(
            f"{path} was chosen for a study with other settings: `{'`, `'.join(changed)}` differ. "
            "Choose another output folder with -o, or put the settings back."
        )
    return with_settings(spec, chosen["settings"])


def what_is_tuned(spec: RunSpec) -> dict[str, Any]:
    """Everything of a run on which the choice of its settings depends, as JSON holds it."""
    values = spec.model_dump(mode="json")
    return {key: value for key, value in values.items() if key not in UNIMPORTANT}


def write_chosen(path: Path, chosen: Mapping[str, Any]) -> None:
    """Write the choice, whole or not at all."""
    write_atomically(path, json.dumps(chosen, indent=2, ensure_ascii=False) + "\n")
