"""Weighted sums of adapters as a new adapter: what those of all methods have in common."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.adapters.tuner import AdapterTuner
from amplitune.errors import ConfigError, near_matches


def check_combination(
    tuner: AdapterTuner,
    adapters: Any,
    weights: Any,
    combination_type: str,
    valid: Sequence[str],
    options: Mapping[str, Any],
    advice: str,
) -> None:
    """Refuse what no weighted sum of a method could be made of.

    Args:
        tuner: the tuner.
        adapters: names, at least one.
        weights: a finite number for each.
        combination_type: the way of combining that was asked for, one of LoRA's in peft.
        valid: the ways that the method has.
        options: further arguments that were given, options of peft's for other ways.
        advice: what to do instead of a way that the method does not have.

    Raises:
        ConfigError: naming the argument and what there is.
    """
    known = ", ".join(map(repr, valid))
    if combination_type not in valid:
        one_of = "one of " if len(valid) > 1 else ""
        raise ConfigError(
            f"`combination_type` must be {one_of}{known}, but is {combination_type!r}. {advice}"
        )
    for name, value in options.items():
        raise ConfigError(
            f"`{name}` must be left unset, as no way to combine ({known}) has it, but is {value!r}. {advice}"
        )
    if not isinstance(adapters, list | tuple) or not adapters:
        raise ConfigError(
            f"`adapters` must be a list of at least one adapter's name, but is {adapters!r}. The model has "
            f"{', '.join(map(repr, tuner.peft_config))}."
        )
    for name in adapters:
        if name not in tuner.peft_config:
            raise ConfigError(
                f"`adapters` must name adapters of the model, but {name!r} does not exist. "
                f"{near_matches(str(name), tuner.peft_config)}"
            )
    if not isinstance(weights, list | tuple) or len(weights) != len(adapters):
        raise ConfigError(
            f"`weights` must be a list with a number for each of the {len(adapters)} adapters, but is "
            f"{weights!r}. Give 1.0 for an adapter that counts as it is."
        )
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ConfigError(
                f"`weights` must be finite numbers, but has {weight!r}. Negative ones subtract an adapter."
            )


def check_same(module_name: str, described: Mapping[str, Mapping[str, Any]], advice: str) -> None:
    """Refuse adapters that differ in a module in what must be the same to combine them.

    Args:
        module_name: the module.
        described: adapter -> field -> value.
        advice: what to do instead.

    Raises:
        ConfigError: naming the first field that differs, and two adapters with their values.
    """
    (first, fields), *others = described.items()
    for name, theirs in others:
        for field, value in fields.items():
            if theirs.get(field) != value:
                raise ConfigError(
                    f"`{field}` must be the same in every adapter that is combined, but in {module_name} is "
                    f"{value!r} in {first!r} and {theirs.get(field)!r} in {name!r}. {advice}"
                )


def adapted_layers(tuner: AdapterTuner, adapters: Sequence[str]) -> dict[str, Any]:
    """Collect the layers that have at least one of the adapters.

    Args:
        tuner: the tuner.
        adapters: names of adapters.

    Returns:
        The layers by their names in the base model, in its order.
    """
    return {
        name: module
        for name, module in tuner.model.named_modules()
        if isinstance(module, AdapterLayer) and any(map(module.has_adapter, adapters))
    }


def common_fields(tuner: AdapterTuner, adapters: Sequence[str], layers: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the fields of the new adapter's config that say which modules it has.

    Args:
        tuner: the tuner.
        adapters: the adapters that are combined.
        layers: the layers that have one of them, by name.

    Returns:
        Field -> value: targets that match exactly these layers, and the modules to save.

    Raises:
        ConfigError: two adapters have trained the same module to save, or one has trained the model's biases.
    """
    configs: list[Any] = [tuner.peft_config[name] for name in adapters]
    for name, config in zip(adapters, configs, strict=True):
        bias = getattr(config, "bias", "none")
        if bias != "none":
            raise ConfigError(
                f"`bias` must be 'none' in every adapter that is combined, but is {bias!r} in {name!r}. The "
                "biases that it trained are the base model's own and belong to no adapter that could be "
                "weighted."
            )
    for name, module in tuner.model.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            _one_saved(name, module, adapters)
    saved = sorted({module for config in configs for module in config.modules_to_save or ()})
    return {
        "target_modules": _targets(tuner.model, set(layers)),
        "exclude_modules": None,
        "layers_to_transform": None,
        "layers_pattern": None,
        "modules_to_save": saved or None,
        "init_weights": True,
    }


def add_adapter(tuner: AdapterTuner, adapter_name: str, config: Any, adapters: Sequence[str]) -> None:
    """Put a new adapter into the model, inactive, with the modules that the combined adapters have saved.

    Args:
        tuner: the tuner.
        adapter_name: the new adapter's name.
        config: its config.
        adapters: the adapters that are combined.
    """
    tuner.peft_config[adapter_name] = config
    try:
        tuner.inject_adapter(tuner.model, adapter_name)
    except Exception:
        # Every check comes before the first layer is changed.
        del tuner.peft_config[adapter_name]
        raise
    for name, module in tuner.model.named_modules():
        # A fresh dropout would be in training mode, also in a model that is not.
        if isinstance(module, AdapterLayer):
            module.train(module.training)
        if isinstance(module, ModulesToSaveWrapper) and adapter_name in module.modules_to_save:
            source = _one_saved(name, module, adapters)
            if source is not None:
                module.modules_to_save[adapter_name].load_state_dict(source.state_dict())


def _one_saved(name: str, wrapper: ModulesToSaveWrapper, adapters: Sequence[str]) -> nn.Module | None:
    """What the adapters have made of a module to save, the same for all that have it."""
    owners = [adapter for adapter in adapters if adapter in wrapper.modules_to_save]
    saved = [wrapper.modules_to_save[adapter] for adapter in owners]
    for owner, other in zip(owners[1:], saved[1:], strict=True):
        first = saved[0].state_dict()
        if any(not torch.equal(value, first[key]) for key, value in other.state_dict().items()):
            raise ConfigError(
                f"`modules_to_save` must not name a module that two of the combined adapters have trained, "
                f"but {owners[0]!r} and {owner!r} have each their own {name}, and only one can be in use. "
                "Combine one of them with adapters that were trained without it."
            )
    return saved[0] if saved else None


def _targets(model: nn.Module, kept: set[str]) -> set[str] | str:
    """Name modules by their endings, as people write them, or in full, or by a regular expression."""
    names = [name for name in _outside_layers(model) if name]
    for targets in ({name.rsplit(".", 1)[-1] for name in kept}, kept):
        endings = tuple(f".{target}" for target in targets)
        if {name for name in names if name in targets or name.endswith(endings)} == kept:
            return set(targets)
    return "|".join(re.escape(name) for name in sorted(kept))


def _outside_layers(model: nn.Module, prefix: str = "") -> list[str]:
    """Names of modules that are not parts of an adapter's layer."""
    found = [prefix]
    if not isinstance(model, AdapterLayer):
        for name, child in model.named_children():
            found += _outside_layers(child, f"{prefix}.{name}" if prefix else name)
    return found
