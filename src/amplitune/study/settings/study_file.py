"""A study as a YAML file: reading it with overrides and paths, writing it with every default."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amplitune.errors import ConfigError
from amplitune.study.data.chat import is_jinja
from amplitune.study.data.sources import ZOO_PREFIX
from amplitune.study.settings.config import StudyConfig
from amplitune.study.settings.located_yaml import parse, parse_located
from amplitune.study.settings.problems import Location, Problem
from amplitune.study.settings.strict import StrictModel

TASK_MODELS = ("model_name_or_path",)
SPLIT_FILES = ("train_file", "validation_file", "test_file")


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study from YAML.

    What an override sets goes before the file, and the file goes before the defaults. Paths of data files and
    local models are relative to the place that names them: in the file to its folder, in an override to the
    working directory.

    Args:
        path: the YAML file.
        overrides: `key=value` with dots for nesting and list indices (`training.max_steps=10`,
            `tasks.0.max_length=64`); values are YAML; the last one that sets a key holds.

    Raises:
        ConfigError: the file is missing or not YAML, or keys or values are wrong: a line for each, with the
            line of the file or the override that set it.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "not there"
        raise ConfigError(f"`study` must be a YAML file, but {path} is {found}. Check the path.")
    try:
        values, origins, problems = parse_located(path.read_text(encoding="utf-8"), str(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{place}: this is not valid YAML: {error.problem}. Correct it.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values, but holds {type(values).__name__}.")
    values = _resolve_paths(values, path.parent.resolve())
    for override in overrides:
        try:
            location = _override(values, override)
        except ConfigError as error:
            problems.append(Problem((), str(error), names_key=False))
        else:
            origins.override(location, override)
    return StudyConfig.parse(_resolve_paths(values, Path.cwd()), origins, problems)


def to_yaml(config: StrictModel) -> str:
    """The configuration as YAML, with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def _override(values: dict[str, Any], override: str) -> Location:
    """Set what an override says; return the key it sets."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"An override must have the form key=value, but is {override!r}.")
    try:
        value = parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The value of the override {override!r} is not valid YAML: {error}") from error
    *parents, last = key.split(".")
    place: Any = values
    location: Location = ()
    try:
        for part in parents:
            location = (*location, *_step(place, part))
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        location = (*location, *_step(place, last))
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ConfigError(
            f"The override {override!r} leads nowhere: a part of `{key}` is not a mapping, "
            "or not an index of its list."
        ) from None
    return location


def _step(place: Any, part: str) -> Location:
    """A part of an override's key as a step into a list or a mapping."""
    return (range(len(place))[int(part)],) if isinstance(place, list) else (part,)


def _resolve_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths in a study absolute, so that a resolved study means the same from any folder."""
    text = values.get("held_out_text")
    files = () if str(text).startswith(ZOO_PREFIX) else ("held_out_text",)
    resolved = _resolve(values, folder, files, models=("model_name_or_path", "bertscore_model"))
    if isinstance(resolved.get("tasks"), list):
        resolved["tasks"] = [
            _resolve(task, folder, _files_of(task), ("model_name_or_path",))
            if isinstance(task, dict)
            else task
            for task in resolved["tasks"]
        ]
    return resolved


def _files_of(task: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of a task that name files."""
    template = str(task.get("chat_template") or "")
    return SPLIT_FILES if not template or is_jinja(template) else (*SPLIT_FILES, "chat_template")


def _resolve(
    values: Mapping[str, Any], folder: Path, files: Sequence[str], models: Sequence[str]
) -> dict[str, Any]:
    resolved = dict(values)
    for key in (*files, *models):
        name = resolved.get(key)
        # What is no folder here may be a model's hub id.
        if isinstance(name, str) and name and (key in files or (folder / name).is_dir()):
            resolved[key] = str((folder / name).resolve())
    return resolved
