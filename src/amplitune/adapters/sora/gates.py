"""The gates of a SoRA model: how many are left, module by module, and how large they are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from amplitune.adapters.sora.adapted import adapted_models
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError, near_matches


@dataclass(frozen=True)
class GateSparsity:
    """How many gates of a SoRA adapter are zero.

    Args:
        ranks: module name -> number of gates that are not zero, the rank that pruning keeps.
        gates: number of gates of the adapter, zero or not, with those that `prune_gates` has removed.
    """

    ranks: dict[str, int]
    gates: int

    @property
    def remaining(self) -> int:
        """The number of gates that are not zero."""
        return sum(self.ranks.values())

    @property
    def sparsity(self) -> float:
        """The share of gates that are zero, from 0 to 1."""
        return 1 - self.remaining / self.gates


def sora_layers(model: nn.Module, adapter_name: str = "default") -> Iterator[tuple[str, SoRALayer]]:
    """Walk through the layers that carry a SoRA adapter, in the model's order.

    Args:
        model: a PeftModel, or a model with injected adapters.
        adapter_name: the adapter.

    Returns:
        Pairs of the name in `model` and the layer.

    Raises:
        ConfigError: no layer carries a SoRA adapter of that name.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, SoRALayer)}
    found = {name: layer for name, layer in layers.items() if adapter_name in layer.sora_gate}
    if not found:
        names = {key for layer in layers.values() for key in layer.sora_gate}
        hint = near_matches(adapter_name, names) if names else "Wrap the model with a SoRAConfig first."
        raise ConfigError(
            f"`adapter_name` must be a SoRA adapter of the model, but {type(model).__name__} has none named "
            f"{adapter_name!r}. {hint}"
        )
    yield from found.items()


def targets_of(layers: Mapping[str, SoRALayer]) -> dict[str, str]:
    """Find the target that each layer belongs to: itself, or the layer that it is a part of.

    Args:
        layers: layers by name.

    Returns:
        Name -> the target's name.
    """
    wholes = {f"{name}.{part}": name for name, layer in layers.items() for part in layer.parts()}
    return {name: wholes.get(name, name) for name in layers}


def gate_sparsity(model: nn.Module, adapter_name: str = "default") -> GateSparsity:
    """Count the gates that are zero.

    Args:
        model: a PeftModel with SoRA adapters, or a module that has one inside. If its parameters are sharded
            (FSDP2, DeepSpeed's ZeRO-3), all processes must call this, for the gates are gathered.
        adapter_name: the adapter.

    Returns:
        The ranks left in each module, and the share of zero gates.

    Raises:
        ConfigError: the model has no SoRA adapter of that name, or FSDP 1 has split its gates.
    """
    layers = dict(sora_layers(model, adapter_name))
    for name, layer in layers.items():
        _check_not_flat(name, layer, adapter_name)
    gates = {name: _whole(layer.sora_gate[adapter_name]) for name, layer in layers.items()}
    counts = [gate.count_nonzero() for gate in gates.values()]
    # One wait for the device instead of one for each module.
    remaining: list[int] = torch.stack([count.to(counts[0].device) for count in counts]).tolist()
    total = sum(gate.numel() for gate in gates.values()) + _removed(model, layers, adapter_name)
    return GateSparsity(dict(zip(gates, remaining, strict=True)), total)


def gate_penalty(model: nn.Module, adapter_name: str = "default") -> Tensor:
    """Compute the mean absolute value of the gates, to be added to the loss with a weight.

        mean |g| over all gates of the adapter, those that `prune_gates` has removed included

    The paper's l1 term is the proximal step. The reference code adds this one too, `10 * gate_penalty(model)`
    in its script for GLUE, so that gates shrink by their gradient as well.

    Args:
        model: a PeftModel with SoRA adapters, or a module that has one inside.
        adapter_name: the adapter; one that is not trained gives a number without a gradient.

    Returns:
        A scalar with a gradient, on the device of the first gate.

    Raises:
        ConfigError: the model has no SoRA adapter of that name, or ZeRO-3 or FSDP 1 has its gates elsewhere.

    Source:
        github.com/TsinghuaC3I/SoRA, src/trainer.py, `compute_loss`.
    """
    layers = dict(sora_layers(model, adapter_name))
    for name, layer in layers.items():
        _check_not_flat(name, layer, adapter_name)
    gates: list[Any] = [layer.sora_gate[adapter_name] for layer in layers.values()]
    if any(hasattr(gate, "ds_id") for gate in gates):
        raise ConfigError(
            "The gates must be at hand outside of the model's forward pass for `gate_penalty`, but "
            "DeepSpeed's ZeRO-3 has them on other processes. Use ZeRO-2, or let the proximal step alone "
            "shrink them."
        )
    whole = [gate.full_tensor() if hasattr(gate, "full_tensor") else gate for gate in gates]
    total = torch.stack([gate.abs().sum().to(whole[0].device) for gate in whole]).sum()
    return total / (sum(gate.numel() for gate in whole) + _removed(model, layers, adapter_name))


@dataclass(frozen=True)
class TrainableGates:
    """The gates of one adapter that training changes.

    Args:
        adapter_name: the adapter's name.
        config: its SoRAConfig.
        parameters: the gates, each once.
    """

    adapter_name: str
    config: Any
    parameters: list[nn.Parameter]


def trainable_gates(model: nn.Module) -> list[TrainableGates]:
    """Collect the gates to train, adapter by adapter.

    Args:
        model: a PeftModel with SoRA adapters, or a module that has one or several inside.

    Returns:
        One entry for each adapter of each PeftModel.

    Raises:
        ConfigError: there are none, one is narrower than float32, or their config is not in `model`.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, SoRALayer)}
    owners = adapted_models(model, layers)
    found: dict[tuple[int, str], TrainableGates] = {}
    taken: set[int] = set()
    for name, layer in layers.items():
        for adapter_name, gate in layer.sora_gate.items():
            if not gate.requires_grad or id(gate) in taken:
                continue
            taken.add(id(gate))
            config = owners[name].configs.get(adapter_name)
            if config is None:
                raise ConfigError(
                    f"`model` must have the config of adapter {adapter_name!r}, which says how gates shrink, "
                    f"but {name} belongs to no PeftModel in it. Give the whole PeftModel."
                )
            check_width(adapter_name, gate)
            group = TrainableGates(adapter_name, config, [])
            found.setdefault((id(config), adapter_name), group).parameters.append(gate)
    if not found:
        remedy = (
            "Load the adapter with is_trainable=True, or make it active with set_adapter."
            if layers
            else "Wrap the model with a SoRAConfig, or use an ordinary optimizer."
        )
        raise ConfigError(
            f"`model` must have trainable SoRA gates, but {type(model).__name__} has "
            f"{'only frozen ones' if layers else 'none'}. {remedy}"
        )
    return list(found.values())


def check_width(adapter_name: str, gate: Tensor) -> None:
    """Raise ConfigError if a gate is narrower than float32.

    Args:
        adapter_name: the adapter, for the message.
        gate: the gate.
    """
    if gate.dtype.itemsize < 4:
        raise ConfigError(
            f"The gates of adapter {adapter_name!r} must be float32 or wider, but are {gate.dtype}: a "
            "threshold of 3e-4 is rounded away there. Cast the base model before wrapping it, not the "
            "wrapped model, and leave `autocast_adapter_dtype` at its default. trl's SFTTrainer casts the "
            "adapter of a quantised model: afterwards set `parameter.data = parameter.data.float()` for the "
            "trainable ones."
        )


def _removed(model: nn.Module, names: Iterable[str], adapter_name: str) -> int:
    """Count the gates that `prune_gates` has removed so far."""
    owners = {id(owner.configs): owner for owner in adapted_models(model, names).values()}
    configs = [owner.configs.get(adapter_name) for owner in owners.values()]
    return sum(config.pruned_gates for config in configs if config is not None)


def check_whole(name: str, layer: SoRALayer, adapter_name: str) -> None:
    """Raise ConfigError if a layer's gates are sharded over processes, so that ranks cannot be chosen here.

    Args:
        name: the layer's name.
        layer: the layer.
        adapter_name: the adapter.
    """
    _check_not_flat(name, layer, adapter_name)
    gate = layer.sora_gate[adapter_name]
    if hasattr(gate, "full_tensor") or hasattr(gate, "ds_id"):
        raise ConfigError(
            f"The gates must be whole on each process to be pruned, but {name}.sora_gate is sharded "
            f"({type(gate).__name__}). Save the adapter, open it in one process, and prune it there."
        )


def _check_not_flat(name: str, layer: SoRALayer, adapter_name: str) -> None:
    # Split, a parameter is a piece of a vector that differs between processes; A whole has two dimensions.
    flattened = getattr(layer.sora_gate[adapter_name], "_fsdp_flattened", False)
    if flattened and layer.sora_A[adapter_name].dim() < 2:
        raise ConfigError(
            f"The gates must be whole or sharded one by one, but FSDP of version 1 has flattened and split "
            f"{name}.sora_gate. Use version 2 (fsdp_version: 2), or count gates and call save_as_lora within "
            "FullyShardedDataParallel.summon_full_params(model)."
        )


@torch.no_grad()
def _whole(gate: Any) -> Tensor:
    """Gather a gate that is sharded over processes: a DTensor, or a parameter of DeepSpeed's ZeRO-3."""
    if hasattr(gate, "full_tensor"):
        gathered: Tensor = gate.full_tensor()
        return gathered
    if hasattr(gate, "ds_id"):
        with import_module("deepspeed").zero.GatheredParameters(gate):
            return torch.clone(gate)
    return torch.as_tensor(gate)
