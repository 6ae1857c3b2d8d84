"""The gates of a SoRA model: how many are left, module by module, and how large they are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

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
        model: a PeftModel with SoRA adapters. If its parameters are sharded (FSDP2, DeepSpeed's ZeRO-3), all
            processes must call this, for the gates are gathered.
        adapter_name: the adapter.

    Returns:
        The ranks left in each module, and the share of zero gates.

    Raises:
        ConfigError: the model has no SoRA adapter of that name.
    """
    gates = {name: _whole(layer.sora_gate[adapter_name]) for name, layer in sora_layers(model, adapter_name)}
    counts = [gate.count_nonzero() for gate in gates.values()]
    # One wait for the device instead of one for each module.
    remaining: list[int] = torch.stack([count.to(counts[0].device) for count in counts]).tolist()
    configs: Any = getattr(model, "peft_config", {})
    pruned = configs[adapter_name].pruned_gates if adapter_name in configs else 0
    return GateSparsity(
        dict(zip(gates, remaining, strict=True)), sum(gate.numel() for gate in gates.values()) + pruned
    )


def gate_penalty(model: nn.Module, adapter_name: str = "default") -> Tensor:
    """Compute the mean absolute value of the gates, to be added to the loss with a weight.

        mean |g| over all gates of the adapter

    The paper's l1 term is the proximal step. The reference code adds this one too, `10 * gate_penalty(model)`
    in its script for GLUE, so that gates shrink by their gradient as well.

    Args:
        model: a PeftModel with SoRA adapters.
        adapter_name: the adapter.

    Returns:
        A scalar with a gradient, on the device of the first gate.

    Raises:
        ConfigError: the model has no SoRA adapter of that name, or ZeRO-3 has its gates elsewhere.

    Source:
        github.com/TsinghuaC3I/SoRA, src/trainer.py, `compute_loss`.
    """
    gates: list[Any] = [layer.sora_gate[adapter_name] for _, layer in sora_layers(model, adapter_name)]
    if any(hasattr(gate, "ds_id") for gate in gates):
        raise ConfigError(
            "The gates must be at hand outside of the model's forward pass for `gate_penalty`, but "
            "DeepSpeed's ZeRO-3 has them on other processes. Use ZeRO-2, or let the proximal step alone "
            "shrink them."
        )
    whole = [gate.full_tensor() if hasattr(gate, "full_tensor") else gate for gate in gates]
    total = torch.stack([gate.abs().sum().to(whole[0].device) for gate in whole]).sum()
    return total / sum(gate.numel() for gate in whole)


def check_whole(module_name: str, gate: Tensor) -> None:
    """Raise ConfigError if a gate is sharded over processes, so that its ranks cannot be chosen here."""
    if hasattr(gate, "full_tensor") or hasattr(gate, "ds_id"):
        raise ConfigError(
            f"The gates must be whole on each process to be pruned, but {module_name}.sora_gate is sharded "
            f"({type(gate).__name__}). Save the adapter, open it in one process, and prune it there."
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
