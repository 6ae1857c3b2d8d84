"""The check that an adapter's file holds exactly the tensors that the adapter needs."""

from collections.abc import Iterable
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from amplitune.errors import ConfigError

_PEFT_PREFIX = "base_model.model."
_SHOWN = 4


def check_adapter_keys(
    model: nn.Module,
    layer_cls: type[BaseTunerLayer],
    adapter_name: str,
    state_dict: dict[str, Tensor],
) -> None:
    """Raise if a state dict lacks a tensor of the adapter, or has one that has no place in the model.

    Args:
        model: the model with the adapter's layers in place.
        layer_cls: the class of the method's layers.
        adapter_name: the adapter that is being loaded.
        state_dict: tensors by the names they have in the model, adapter name included.

    Raises:
        ConfigError: with the number and the first few of the missing and the unexpected keys.
    """
    known = set(model.state_dict())
    given = {key if key in known else key.removeprefix(_PEFT_PREFIX) for key in state_dict}
    own = {
        f"{module_name}.{attribute}.{adapter_name}"
        for module_name, module in model.named_modules()
        if isinstance(module, layer_cls)
        for attribute in module.adapter_layer_names
        if adapter_name in getattr(module, attribute)
    }
    missing = own - given
    unexpected = given - own - {key for key in known if _may_come_along(key, model, adapter_name)}
    if missing or unexpected:
        raise ConfigError(
            f"The file of adapter {adapter_name!r} must hold exactly the {len(own)} tensors of its config"
            f"{_listed('but lacks', missing)}{_listed('but adds', unexpected)}. The adapter was saved from "
            "another model or with another config, or the file is damaged: load it with the "
            "adapter_config.json saved beside it, on the base model that the config names."
        )


def _may_come_along(key: str, model: nn.Module, adapter_name: str) -> bool:
    """Whether peft saves this tensor of the model beside the adapter's own.

    These are the modules to save of the same adapter, and the embeddings, which peft adds when the
    vocabulary was resized.
    """
    if (
        f".modules_to_save.{adapter_name}." in key
        or f".token_adapter.trainable_tokens_delta.{adapter_name}" in key
    ):
        return True
    return any(key.startswith(f"{name}.") for name in _embedding_names(model))


def _embedding_names(model: Any) -> list[str]:
    if not hasattr(model, "get_input_embeddings"):
        return []
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name for name, module in model.named_modules() if module in embeddings]


def _listed(verb: str, keys: Iterable[str]) -> str:
    names = sorted(keys)
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f", {verb} {len(names)}: {', '.join(names[:_SHOWN])}{more}"
