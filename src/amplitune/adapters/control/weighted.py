"""Weighted sums of CONTROL adapters: up-projections of the same features added up."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from amplitune.adapters.control.config import FIELDS_OF, ControlConfig
from amplitune.adapters.control.layer import ControlLinear
from amplitune.adapters.tuner import AdapterTuner
from amplitune.adapters.weighted import adapted_layers, add_adapter, check_same, common_fields
from amplitune.errors import ConfigError


def add_up_projections(
    tuner: AdapterTuner, adapters: Sequence[str], weights: Sequence[float], adapter_name: str
) -> None:
    """Add an adapter whose branch is the weighted sum of others' branches, exactly.

        sum_i w_i s_i (W_i f(x) + b_i) = W f(x) + b,   W = sum_i w_i s_i W_i,   b = sum_i w_i s_i b_i

    All adapters must have the same f in a module, but for those with features "bias", which have none. What
    is random in f comes from the seed and the module's name; in the classical twin's, angles are learned.

    Args:
        tuner: the tuner.
        adapters: the adapters.
        weights: w_i.
        adapter_name: the new adapter's name.

    Raises:
        ConfigError: the features differ between the adapters; nothing has been added.
    """
    layers = adapted_layers(tuner, adapters)
    common = common_fields(tuner, adapters, layers)
    configs: dict[str, Any] = {name: tuner.peft_config[name] for name in adapters}
    described = _described(configs, layers)
    _check_angles(adapters, layers)
    config = replace(
        described, **common, scaling=1.0, up_proj_bias=any(each.up_proj_bias for each in configs.values())
    )
    add_adapter(tuner, adapter_name, config, adapters)
    for layer in layers.values():
        _fill(layer, adapters, weights, adapter_name)


def _described(configs: Mapping[str, ControlConfig], layers: Mapping[str, ControlLinear]) -> ControlConfig:
    """Choose the config, one of the adapters', that gives every module the features it has in all of them."""
    problems: list[ConfigError] = []
    for name, config in configs.items():
        if config.features == "bias" and any(other.features != "bias" for other in configs.values()):
            continue
        try:
            for module, layer in layers.items():
                owners = [other for other in configs if layer.has_adapter(other)]
                features = {
                    other: _features(configs[other], layer.in_features)
                    for other in (name, *owners)
                    if configs[other].features != "bias"
                }
                if features:
                    check_same(module, features, _ADVICE)
        except ConfigError as problem:
            problems.append(problem)
        else:
            return config
    raise problems[0]


def _features(config: ControlConfig, d_in: int) -> dict[str, Any]:
    """Describe f in a module by the fields it depends on, `width` as the number of all features."""
    found = {name: getattr(config, name) for name in ("features", *FIELDS_OF[config.features])}
    found |= {"width": config.columns(d_in), "n_qubits": config.qubits(d_in)}
    if config.features != "givens":
        # There, circuits are no more than a factor of the width.
        del found["circuits"]
    if config.features == "projection":
        del found["n_qubits"]
    return found


def _check_angles(adapters: Sequence[str], layers: Mapping[str, ControlLinear]) -> None:
    for name, layer in layers.items():
        owners = [adapter for adapter in adapters if adapter in layer.control_angles]
        for other in owners[1:]:
            if not torch.equal(layer.control_angles[owners[0]], layer.control_angles[other]):
                raise ConfigError(
                    "`adapters` with features: 'givens' must have the same angles, but those of "
                    f"{owners[0]!r} and {other!r} differ in {name}. What is random in a twin is drawn for "
                    "its number of circuits, so that two cannot stand side by side in one adapter. Keep them "
                    "active together, with weight 1 each: model.base_model.set_adapter([...])."
                )


_ADVICE = (
    "Up-projections add up where they read the same features. Combine adapters of the same features, or keep "
    "these active together, with weight 1 each: model.base_model.set_adapter([...])."
)


@torch.no_grad()
def _fill(layer: ControlLinear, adapters: Sequence[str], weights: Sequence[float], adapter_name: str) -> None:
    """Add the adapters' up-projections up; W and b of a fresh adapter are zero."""
    for adapter, weight in zip(adapters, weights, strict=True):
        if not layer.has_adapter(adapter):
            continue
        factor = weight * float(layer.control_config[adapter].scaling)
        for parameters in (layer.control_up_proj, layer.control_up_proj_bias):
            if adapter in parameters:
                parameters[adapter_name] += factor * parameters[adapter]
        if adapter in layer.control_angles:
            layer.control_angles[adapter_name].copy_(layer.control_angles[adapter])
