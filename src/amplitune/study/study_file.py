"""A study as a YAML file: reading it with overrides and paths, writing it with every default."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amplitune.errors import ConfigError
from amplitune.study.config import StudyConfig
from amplitune.study.strict import StrictModel


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the numbers of YAML 1.2, and without keys that silently replace each other."""


# PyYAML reads 1e-3 as text: its YAML 1.1 wants a dot and a sign, 1.0e-3.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+"),
    list("-+.0123456789"),
)


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]  # type: ignore[no-untyped-call, unused-ignore]
    for key in keys:
        if keys.count(key) > 1 and key != "<<":
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands {keys.count(key)} times", node.start_mark
            )
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def load_study(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study from YAML.

    Paths of data files and local models are relative to the place that names them: in the file to its
    folder, in an override to the working directory.

    Args:
        path: the YAML file.
        overrides: `key=value` with dots for nesting and list indices (`training.max_steps=10`,
            `tasks.0.max_length=64`); values are YAML.

    Raises:
        ConfigError: the file is missing or not YAML, or a key or value is wrong.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "not there"
        raise ConfigError(f"`study` must be a YAML file, but {path} is {found}. Check the path.")
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values, but holds {type(values).__name__}.")
    values = _resolve_paths(values, path.parent.resolve())
    for override in overrides:
        _override(values, override)
    return StudyConfig.parse(_resolve_paths(values, Path.cwd()), str(path))


def to_yaml(config: StrictModel) -> str:
    """The configuration as YAML, with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader by inheritance


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"An override must have the form key=value, but is {override!r}.")
    try:
        value = _parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"The value of the override {override!r} is not valid YAML: {error}") from error
    *parents, last = key.split(".")
    place: Any = values
    try:
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ConfigError(
            f"The override {override!r} leads nowhere: a part of `{key}` is not a mapping, "
            "or not an index of its list."
        ) from None


def _resolve_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths in a study absolute, so that a resolved study means the same from any folder."""
    resolved = _resolve(values, folder, files=(), models=("model_name_or_path", "bertscore_model"))
    if isinstance(resolved.get("tasks"), list):
        files = ("train_file", "validation_file", "test_file")
        resolved["tasks"] = [
            _resolve(task, folder, files, ("model_name_or_path",)) if isinstance(task, dict) else task
            for task in resolved["tasks"]
        ]
    return resolved


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
