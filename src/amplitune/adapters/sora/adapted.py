"""The models that peft has adapted within a model: itself, one behind a wrapper, or parts of a larger one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from amplitune.adapters.files.checkpoint import state_name

#: What torch.compile puts into the names of modules, in state dicts too.
_COMPILED = "_orig_mod"


def plain_name(name: str) -> str:
    """Leave out of a module's or a tensor's name what wrappers have put into it.

    Example:
        >>> plain_name("layers.0._orig_mod.q_proj")
        'layers.0.q_proj'
    """
    return ".".join(part for part in state_name(name).split(".") if part != _COMPILED)


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A base model whose layers carry adapters.

    Args:
        name: its name in the model at hand, empty for that model itself.
        configs: adapter name -> config; peft's own mapping, not a copy.
    """

    name: str
    configs: dict[str, Any]

    def holds(self, name: str) -> bool:
        """Whether a module is inside it.

        Args:
            name: the module's name in the model at hand.
        """
        return not self.name or name.startswith(f"{self.name}.")

    def module_name(self, name: str) -> str:
        """Give the name that patterns and files have for a module.

        Args:
            name: the module's name in the model at hand.

        Example:
            >>> AdaptedModel("module.base_model.model", {}).module_name("module.base_model.model.0._orig_mod")
            '0'
        """
        return plain_name(name[len(self.name) :].removeprefix("."))


def adapted_models(model: nn.Module, names: Iterable[str]) -> Mapping[str, AdaptedModel]:
    """Find the adapted model that each layer belongs to.

    Args:
        model: any module; a PeftModel may be inside of it, as it is in DistributedDataParallel.
        names: names of adapted layers in `model`.

    Returns:
        Layer name -> the innermost adapted model that has the layer; without configs where `model` is only a
        part of one.
    """
    # A wrapper may pass the attribute on: only a module that has it by itself counts.
    found = [
        AdaptedModel(name, vars(module)["peft_config"])
        for name, module in model.named_modules()
        if isinstance(vars(module).get("peft_config"), dict)
    ]
    part = AdaptedModel("", {})
    return {
        name: max((each for each in found if each.holds(name)), key=lambda each: len(each.name), default=part)
        for name in names
    }
