"""The untying of weights that a merge would change in two places."""

import warnings
from collections.abc import Iterable

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def untie(model: nn.Module, layers: Iterable[BaseTunerLayer]) -> None:
    """Give the base layers of adapters a weight of their own where another module has the same parameter.

    An adapter of an input embedding changes what is looked up, not the logits of the head tied to it (nor the
    other way round). Merged into the shared weight it would change both; merged into a copy, it does not.

    Args:
        model: the model with the adapters in place.
        layers: the adapters' layers.

    Warns:
        UserWarning: a weight was tied; it names the modules.
    """
    owners: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append((name, module))
    for layer in layers:
        base = layer.get_base_layer()
        weight = base._parameters.get("weight")
        sharing = owners.get(id(weight), [])
        if weight is None or len(sharing) < 2:
            continue
        names = sorted(name.removesuffix(".base_layer") for name, _ in sharing)
        warnings.warn(
            f"{' and '.join(names)} share a weight, and an adapter of one of them is merged: it gets a copy "
            "of its own, they are no longer tied. The adapter would change the other as well otherwise.",
            stacklevel=2,
        )
        base.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
        owners[id(weight)] = [owner for owner in sharing if owner[1] is not base]
