"""Whether a stored run is the one that is wanted."""

from collections.abc import Iterator
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
    differences = _differences(stored, spec.model_dump(mode="json"))
    return [path for path in differences if path.partition(".")[0] not in DECIDE_NOTHING]


def _differences(stored: object, wanted: object, path: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*wanted, *stored]):
            yield from _differences(stored.get(key), wanted.get(key), f"{path}.{key}" if path else key)
    elif stored != wanted:
        yield path
