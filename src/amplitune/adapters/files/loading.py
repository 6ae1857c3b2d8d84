"""Loading an adapter from a folder: a file that cannot be used leaves the model without the new adapter."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from peft.functional import delete_adapter
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError, safe_open
from torch import nn

from amplitune.errors import ConfigError

_KEY = "_awaited"


@dataclass
class Awaited:
    """What a config that was read from a folder knows until the tensors beside it are loaded.

    Args:
        folder: the folder.
        needs_tensors: whether the tensors must be there: peft's load_adapter read the config.
        trainable: names of the parameters that trained before the adapter was put into the model.
        versions: torch's counts of the writes to the adapter's tensors when they were made, by name.
    """

    folder: Path
    needs_tensors: bool = False
    trainable: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)


def await_tensors(config: Any, folder: Path, needs_tensors: bool) -> None:
    """Note that a config was read from a folder; no field of the config changes.

    Args:
        config: a method's config.
        folder: where its adapter_config.json is.
        needs_tensors: whether it is no config without tensors, from which an adapter may be made too.
    """
    vars(config)[_KEY] = Awaited(folder, needs_tensors)


def check_readable(config: Any, model: nn.Module) -> None:
    """Raise if the tensors beside a config that was read from a folder are not there or cannot be read.

    Those of `modules_to_save` are looked for as well: peft would stop at one that is missing after it has
    wrapped the model.

    Args:
        config: the config of an adapter that is about to be put into a model.
        model: the model.

    Raises:
        ConfigError: naming the file.
    """
    awaited: Awaited | None = vars(config).get(_KEY)
    if awaited is None:
        return
    path = awaited.folder / SAFETENSORS_WEIGHTS_NAME
    pickled = awaited.folder / WEIGHTS_NAME
    if not path.is_file() and not pickled.is_file():
        if awaited.needs_tensors:
            raise ConfigError(
                f"`{awaited.folder}` must hold {SAFETENSORS_WEIGHTS_NAME} beside adapter_config.json, but "
                "does not. Save the adapter again with save_pretrained, which writes both."
            )
        return
    try:
        if path.is_file():
            with safe_open(path, "pt") as file:
                keys = list(file.keys())
        else:
            path = pickled
            keys = list(torch.load(path, map_location="meta", weights_only=True))
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
        raise ConfigError(
            f"{path} must hold the adapter's tensors, but cannot be read: {error}. The file is damaged or "
            "was not copied to its end: copy it again, or save the adapter again."
        ) from error
    lacking = _unsaved(config.modules_to_save or (), model, keys)
    if lacking:
        raise ConfigError(
            f"{path} must hold all tensors of the modules that `modules_to_save` names, "
            f"{list(dict.fromkeys(config.modules_to_save))!r}, but lacks {', '.join(lacking)}. Save the "
            "adapter again, or load it on the base model that its config names."
        )


def _unsaved(names: Iterable[str], model: nn.Module, keys: list[str]) -> list[str]:
    """Find what fewer tensors of a file are named for than the model has modules with it.

    By the ends of names alone, as peft finds modules: `key_mapping=` may change where they begin.
    """
    needed: Counter[str] = Counter()
    for name, found in model.named_modules():
        target = next((target for target in names if name.endswith(target)), None)
        if target is not None:
            module: Any = found.original_module if isinstance(found, AuxiliaryTrainingWrapper) else found
            needed.update(f"{target}.{parameter}" for parameter, _ in module.named_parameters())
    return [end for end, count in needed.items() if sum(key.endswith(end) for key in keys) < count]


def adapter_made(config: Any, model: nn.Module, adapter_name: str, trainable: list[str]) -> None:
    """Note the state of an adapter that was just put into a model, before its tensors are loaded.

    Args:
        config: its config.
        model: the model, the adapter's layers in place.
        adapter_name: the adapter.
        trainable: names of the parameters that trained before.
    """
    awaited: Awaited | None = vars(config).get(_KEY)
    if awaited is not None:
        awaited.trainable, awaited.versions = trainable, _versions(model, adapter_name)


def tensors_loaded(config: Any) -> None:
    """Note that an adapter has its tensors: from here on it is the user's, whatever is loaded into it."""
    vars(config).pop(_KEY, None)


def remove_unloaded(
    model: Any, layer_cls: type[BaseTunerLayer], prefix: str, config: Any, adapter_name: str
) -> None:
    """Take an adapter out of a model if it was read from a folder and nothing has written to it since.

    Its tensors could not be loaded, so what is there are a fresh adapter's. Under the name of the one that
    was asked for it would be taken for that one.

    Args:
        model: a PeftModel, or the model itself where the adapter was put into it without one.
        layer_cls: the class of the method's layers.
        prefix: the prefix of the method's parameters.
        config: the adapter's config.
        adapter_name: the adapter.
    """
    awaited: Awaited | None = vars(config).get(_KEY)
    tuner = getattr(model, "base_model", None)
    inner: nn.Module = tuner.model if isinstance(tuner, BaseTuner) else model
    if awaited is None or awaited.versions != _versions(inner, adapter_name):
        return
    if isinstance(tuner, BaseTuner) and list(model.peft_config) == [adapter_name]:
        tuner.unload()
        for name, parameter in inner.named_parameters():
            parameter.requires_grad_(name in awaited.trainable)
    else:
        delete_adapter(inner, adapter_name, prefix, layer_cls)
        _unwrap_empty(inner, layer_cls)
    del model.peft_config[adapter_name]


def _unwrap_empty(model: nn.Module, layer_cls: type[BaseTunerLayer]) -> None:
    """Put the base layer back where a layer has no adapter left."""
    # The innermost first: an adapted attention has an adapted projection inside of it.
    for name, module in reversed(list(model.named_modules())):
        layer: Any = module
        if isinstance(module, layer_cls) and not any(
            getattr(layer, own) for own in layer.adapter_layer_names
        ):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.base_layer)


def _versions(model: nn.Module, adapter_name: str) -> dict[str, int]:
    return {
        name: parameter._version
        for name, parameter in model.named_parameters()
        if name.endswith(f".{adapter_name}")
    }
