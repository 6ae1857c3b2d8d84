"""The gates of a SoRA model: how many are left, module by module."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError, near_matches


@dataclass(frozen=True)
class GateSparsity:
    """How many gates of a SoRA adapter are zero.

    Args:
        ranks: module name -> number of gates that are not zero, the rank that pruning keeps.
        gates: number of gates of the adapter, zero or not.
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


def gate_sparsity(model: nn.Module, adapter_name: str = "default") -> GateSparsity:
    """Count the gates that are zero.

    Args:
        model: a PeftModel with SoRA adapters.
        adapter_name: the adapter.

    Returns:
        The ranks left in each module, and the share of zero gates.

    Raises:
        ConfigError: the model has no SoRA adapter of that name.
    """
    ranks: dict[str, int] = {}
    gates = 0
    for name, layer in sora_layers(model, adapter_name):
        gate = layer.sora_gate[adapter_name]
        ranks[name] = int((gate != 0).sum())
        gates += gate.numel()
    return GateSparsity(ranks, gates)
