"""Whether a stored run is the one that is wanted."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from amplitune.study.settings.config import RunSpec

DECIDE_NOTHING = {"save_adapters", "threads"}
"""Settings that may differ: no result depends on them."""


def differing_settings(spec: RunSpec, folder: Path) -> list[str]:
    """Name the settings in which a stored run differs from the one that is wanted.

    Args:
        spec: the run that is wanted.
        folder: of the stored run, complete or in flight.

    Returns:
        Paths of settings with dots, none if it is the same run.

    Raises:
        OSError: its run.resolved.yaml cannot be read.
        ValueError: that is no text.
        yaml.YAMLError: that is no YAML.
    """
    stored = yaml.safe_load((folder / "run.resolved.yaml").read_text(encoding="utf-8"))
    found = differences(stored, spec.model_dump(mode="json"))
    return [path for path in found if path.partition(".")[0] not in DECIDE_NOTHING]


def differences(stored: object, wanted: object, path: str = "") -> list[str]:
    """The dotted keys in which two nested mappings differ.

    Example:
        >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3, "d": None}})
        ['b.c']
    """
    if not (isinstance(stored, Mapping) and isinstance(wanted, Mapping)):
        return [] if stored == wanted else [path or "run"]
    return [
        found
        for key in dict.fromkeys([*wanted, *stored])
        for found in differences(stored.get(key), wanted.get(key), f"{path}.{key}" if path else str(key))
    ]
