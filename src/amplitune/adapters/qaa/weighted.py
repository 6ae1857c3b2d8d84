"""Weighted sums of QAA adapters: their circuits side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from amplitune.adapters.patterns import exact_key
from amplitune.adapters.qaa.config import QAAConfig
from amplitune.adapters.qaa.fused import FusedParts
from amplitune.adapters.qaa.layer import QAALayer
from amplitune.adapters.tuner import AdapterTuner
from amplitune.adapters.weighted import adapted_layers, add_adapter, check_same, common_fields
from amplitune.errors import ConfigError
from amplitune.quantum import Circuit, qubits_for

_BY_MODULE = ("depth", "readout")


def concatenate_circuits(
    tuner: AdapterTuner, adapters: Sequence[str], weights: Sequence[float], adapter_name: str
) -> None:
    """Add an adapter whose branch is the weighted sum of others' branches, exactly.

        sum_i w_i s_i (W_i z_i + b_i) = W z + b,   z = (z_1, z_2, ...),   W = (w_1 s_1 W_1, ...)

    Its circuits in parallel are those of all adapters. In a module that some of them do not have, their
    circuits stand idle: W has zeros for them, so that every module has the same number.

    Args:
        tuner: the tuner.
        adapters: the adapters.
        weights: w_i.
        adapter_name: the new adapter's name.

    Raises:
        ConfigError: a field of the circuit differs between the adapters; nothing has been added.
    """
    layers = adapted_layers(tuner, adapters)
    configs: list[Any] = [tuner.peft_config[name] for name in adapters]
    config = _config(configs, adapters, layers, common_fields(tuner, adapters, layers))
    add_adapter(tuner, adapter_name, config, adapters)
    for layer in layers.values():
        _fill(layer, adapters, weights, [config.circuits for config in configs], adapter_name)


def _config(
    configs: Sequence[QAAConfig],
    adapters: Sequence[str],
    layers: Mapping[str, QAALayer],
    common: dict[str, Any],
) -> QAAConfig:
    circuits = {name: _one_circuit(name, layer, adapters) for name, layer in layers.items()}
    everywhere = all(layer.has_adapter(adapter) for layer in layers.values() for adapter in adapters)
    described = replace(
        configs[0],
        **common,
        circuits=sum(config.circuits for config in configs),
        scaling=1.0,
        up_proj_bias=any(config.up_proj_bias for config in configs),
        train_angles=any(config.train_angles for config in configs),
        # One set of angles serves several modules only if each adapter's does.
        share_circuit=everywhere and all(config.share_circuit for config in configs),
        depth_pattern={},
        readout_pattern={},
        fused_parts={},
        fused_layouts={},
        preset=None,
    )
    # Given in one config and left to the width in another, the number of qubits can be the same.
    for n_qubits in dict.fromkeys(config.n_qubits for config in configs):
        widths = {name: n_qubits or qubits_for(layer.in_features) for name, layer in layers.items()}
        if all(circuit.n_qubits == widths[name] for name, circuit in circuits.items()):
            described = replace(described, n_qubits=n_qubits)
    patterns: dict[str, Any] = {f"{field}_pattern": {} for field in _BY_MODULE}
    for name, layer in layers.items():
        own = circuits[name].to_dict()
        by_module = {field: _plain(own[field]) for field in _BY_MODULE}
        base = replace(described, **by_module).circuit(layer.in_features).to_dict()
        for field, value in own.items():
            if value != base[field]:
                raise ConfigError(
                    f"`{field}` must be the same in all modules of the adapters that are combined, but is "
                    f"{value!r} in {name} and {base[field]!r} in others. {_ADVICE}"
                )
        for field, value in by_module.items():
            if value != getattr(described, field):
                patterns[f"{field}_pattern"][exact_key(name)] = value
        if (parts := _same_parts(name, layer, adapters)) is not None:
            patterns.setdefault("fused_parts", {})[exact_key(name)] = list(parts.parts)
            patterns.setdefault("fused_layouts", {})[exact_key(name)] = parts.layout.to_dict()
    return replace(described, **patterns)


def _same_parts(name: str, layer: QAALayer, adapters: Sequence[str]) -> FusedParts | None:
    owners = [adapter for adapter in adapters if layer.has_adapter(adapter)]
    first, *others = (layer.qaa_parts.get(owner) for owner in owners)
    if any(other != first for other in others):
        raise ConfigError(
            f"`fused_parts` must be the same in every adapter that is combined, but differs in {name}. "
            f"{_ADVICE}"
        )
    return first


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _one_circuit(name: str, layer: QAALayer, adapters: Sequence[str]) -> Circuit:
    owners = [adapter for adapter in adapters if layer.has_adapter(adapter)]
    check_same(name, {owner: layer.qaa_circuit[owner].to_dict() for owner in owners}, _ADVICE)
    return layer.qaa_circuit[owners[0]]


_ADVICE = (
    "Circuits in parallel differ in their angles alone. Combine adapters of the same circuit, or keep these "
    "active together, with weight 1 each: model.base_model.set_adapter([...])."
)


@torch.no_grad()
def _fill(
    layer: QAALayer,
    adapters: Sequence[str],
    weights: Sequence[float],
    circuits: Sequence[int],
    adapter_name: str,
) -> None:
    """Write the adapters' angles and up-projections side by side; W and b of a fresh adapter are zero."""
    angles, up_proj = layer.angles_of(adapter_name), layer.qaa_up_proj[adapter_name]
    m = layer.qaa_circuit[adapter_name].n_observables
    first = 0
    for adapter, weight, count in zip(adapters, weights, circuits, strict=True):
        last = first + count
        if layer.has_adapter(adapter):
            factor = weight * layer.qaa_scaling[adapter]
            # Those of a fused projection's parts come one part after the other.
            by_part = angles.unflatten(0, (-1, sum(circuits)))
            by_part[:, first:last] = layer.angles_of(adapter).unflatten(0, (-1, count))
            up_proj[:, first * m : last * m] = layer.qaa_up_proj[adapter] * factor
            if adapter in layer.qaa_up_proj_bias:
                layer.qaa_up_proj_bias[adapter_name] += layer.qaa_up_proj_bias[adapter] * factor
        first = last
