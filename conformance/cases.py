"""Our configs in the place of LoRA's, wherever peft's tests are parametrised by a config."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from peft import LoraConfig, PeftConfig

from amplitune import ControlConfig, QAAConfig, SoRAConfig

CONFIGS: tuple[type[Any], ...] = (QAAConfig, SoRAConfig, ControlConfig)

CUSTOM_MODELS = ("test_name", "model_id", "config_cls", "config_kwargs")
"""The parameters of the tests of custom models, by which their list of cases is known."""

OWN_CASES: tuple[tuple[str, str, type[Any], dict[str, Any]], ...] = (
    ("Vanilla MLP QAA deep", "MLP", QAAConfig, {"target_modules": ["lin0"], "depth": 3, "rotation": "Rot"}),
    (
        "Vanilla MLP QAA two circuits",
        "MLP",
        QAAConfig,
        {"target_modules": ["lin0", "lin1"], "circuits": 2, "readout": "Z+ZZ", "norm": "restore"},
    ),
    (
        "Vanilla MLP QAA linear",
        "MLP",
        QAAConfig,
        {"target_modules": ["lin0", "lin1"], "readout": "interferometric", "norm": "restore"},
    ),
    ("Vanilla MLP QAA no bias", "MLP", QAAConfig, {"target_modules": ["lin0"], "up_proj_bias": False}),
    ("Vanilla MLP QAA frozen", "MLP", QAAConfig, {"target_modules": ["lin0"], "train_angles": False}),
    (
        "Vanilla MLP SoRA patterns",
        "MLP",
        SoRAConfig,
        {"target_modules": ["lin0", "lin1"], "rank_pattern": {"lin0": 2}, "alpha_pattern": {"lin1": 4}},
    ),
    ("Vanilla MLP Control bias", "MLP", ControlConfig, {"target_modules": ["lin0"], "features": "bias"}),
    (
        "Vanilla MLP Control squares",
        "MLP",
        ControlConfig,
        {"target_modules": ["lin0"], "features": "squares"},
    ),
    ("Vanilla MLP Control givens", "MLP", ControlConfig, {"target_modules": ["lin0"], "features": "givens"}),
)
"""Settings that LoRA does not have, for the tests of custom models."""

SIZES = {"r", "lora_alpha", "lora_dropout"}
"""Settings of LoRA that have no counterpart in a method without ranks; its cases go without them."""

RENAMED = {"init_lora_weights": "init_weights"}


def our_rows(argnames: str | Sequence[str], rows: Iterable[Any]) -> list[Any]:
    """Give the rows of a parametrisation for our configs.

    Args:
        argnames: the names of the parameters.
        rows: peft's rows.

    Returns:
        The rows as they are if no config is among them. Otherwise LoRA's rows with each of our configs in its
        place, where that config has all settings of the row; none of the other methods' rows.
    """
    names = [name.strip() for name in argnames.split(",")] if isinstance(argnames, str) else list(argnames)
    given = [_values(row, len(names)) for row in rows]
    if not any(_is_config(value) for values in given for value in values):
        return list(rows)
    ours: list[tuple[Any, ...]] = []
    for config_cls in CONFIGS:
        seen: list[list[Any]] = []
        for values in given:
            row = _translated(values, config_cls)
            settings = None if row is None else [value for value in row if not isinstance(value, str)]
            models = [] if row is None else [row[names.index("model_id")]] if "model_id" in names else []
            if row is not None and settings is not None and [*settings, *models] not in seen:
                seen.append([*settings, *models])
                ours.append(row)
    if tuple(names) == CUSTOM_MODELS:
        ours.extend(OWN_CASES)
    return [pytest.param(*row) for row in ours]


def config_of(values: Iterable[Any]) -> str | None:
    """Name the first of our configs, a class or an instance, among a test's parameters."""
    for value in values:
        config_cls = value if isinstance(value, type) else type(value)
        if config_cls in CONFIGS:
            return config_cls.__name__
    return None


def _values(row: Any, count: int) -> tuple[Any, ...]:
    values = getattr(row, "values", row)
    if callable(values) or (count == 1 and values is row):
        return (row,)
    return tuple(values)


def _is_config(value: Any) -> bool:
    return isinstance(value, PeftConfig) or (isinstance(value, type) and issubclass(value, PeftConfig))


def _translated(values: tuple[Any, ...], config_cls: type[Any]) -> tuple[Any, ...] | None:
    """Put a config in LoRA's place; None if the row is not LoRA's or has settings that the config lacks."""
    configs = [value for value in values if _is_config(value)]
    if not configs or not all(config is LoraConfig or type(config) is LoraConfig for config in configs):
        return None
    row: list[Any] = []
    for value in values:
        if value is LoraConfig:
            row.append(config_cls)
        elif isinstance(value, LoraConfig):
            settings = _settings(_set_fields(value), config_cls)
            row.append(None if settings is None else config_cls(**settings))
        elif isinstance(value, dict):
            row.append(_settings(value, config_cls))
        elif isinstance(value, str):
            name = config_cls.__name__.removesuffix("Config")
            row.append(value.replace("LoRA", name).replace("lora", name.lower()))
        else:
            row.append(value)
        if row[-1] is None:
            return None
    return tuple(row)


def _settings(given: dict[str, Any], config_cls: type[Any]) -> dict[str, Any] | None:
    known = {field.name for field in dataclasses.fields(config_cls)}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        name = RENAMED.get(name, name)
        if name in known:
            settings[name] = value
        elif name not in SIZES:
            return None
    if not isinstance(settings.get("init_weights", True), bool):
        return None
    return settings


def _set_fields(config: LoraConfig) -> dict[str, Any]:
    default = type(config)()
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(default, field.name)
    }
