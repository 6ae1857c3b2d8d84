"""The untying of weights that a merge would change in several places."""

import copy
import warnings
from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from amplitune.adapters.layers.merging import MergeableLayer
from amplitune.errors import NotMergeableError


@dataclass(frozen=True)
class _Owner:
    """A module that holds a parameter, and under which names."""

    module_name: str
    module: nn.Module
    attribute: str


def untie(model: nn.Module, layers: Collection[MergeableLayer]) -> None:
    """Give each module a weight of its own where adapters are to be merged into one that several share.

    An adapter of an input embedding changes what is looked up, not the logits of the head tied to it (nor the
    other way round). Merged into the shared weight it would change both; merged into a copy, it does not.
    All that share the weight get copies, not the adapted module alone: transformers has one switch for all of
    them in the config, which peft turns off, and then it would not save what is tied still.

    Args:
        model: the model with the adapters in place.
        layers: the adapters' layers.

    Raises:
        NotMergeableError: a base layer is also at a place where it has no adapter; nothing is untied.

    Warns:
        UserWarning: a weight was tied; it names the modules.
    """
    bases = [layer.get_base_layer() for layer in layers]
    places: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        places.setdefault(id(module), []).append(name)
    for base in bases:
        adapted = [name for name in places.get(id(base), []) if name.endswith(".base_layer")]
        bare = [name for name in places.get(id(base), []) if name not in adapted]
        if bare:
            raise NotMergeableError(
                f"{adapted[0].removesuffix('.base_layer')} and {' and '.join(bare)} are one module, with an "
                "adapter at the first place only, so a merge would change the other as well. Keep the "
                "adapter beside it, or give the model a copy of the module at each place."
            )
    owners: dict[int, list[_Owner]] = {}
    for name, module in model.named_modules():
        for attribute, parameter in module._parameters.items():
            if parameter is not None:
                owners.setdefault(id(parameter), []).append(_Owner(name, module, attribute))
    for base, layer in zip(bases, layers, strict=True):
        sharing = owners.get(id(base._parameters.get(layer.weight_name)), [])
        if len(sharing) < 2:
            continue
        names = sorted(owner.module_name.removesuffix(".base_layer") for owner in sharing)
        warnings.warn(
            f"{' and '.join(names)} share a weight into which an adapter is merged, so each gets a copy of "
            "its own: they are no longer tied. Otherwise the adapter would change them all.",
            stacklevel=2,
        )
        for owner in sharing[1:]:
            setattr(owner.module, owner.attribute, copy.deepcopy(getattr(owner.module, owner.attribute)))
