"""The check that an adapter's file holds exactly the tensors that the adapter needs."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from amplitune.errors import ConfigError

_PEFT_PREFIX = "base_model.model."
#: What activation checkpointing and FSDP 1 put into names of modules, but not into state dicts.
_WRAPPERS = {"_checkpoint_wrapped_module", "_fsdp_wrapped_module"}
_SHOWN = 4
_ADVICE = (
    "The adapter was saved from another model or with another config, or the file is damaged: load it with "
    "the adapter_config.json saved beside it, on the base model that the config names."
)


def state_name(name: str) -> str:
    """Give the name that a module or a tensor has in a state dict.

    Args:
        name: its name in the tree of modules.

    Example:
        >>> state_name("layers.0._checkpoint_wrapped_module.q_proj")
        'layers.0.q_proj'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Give the parameters and buffers of a model by their names in a state dict, tied ones by each of them.

    Unlike `state_dict`, it reads nothing out of quantised layers: bitsandbytes rounds the scales of 4-bit
    weights again when it gives a state dict after inference on a CPU.

    Args:
        model: the model.

    Returns:
        The tensors themselves.

    Example:
        >>> list(named_tensors(nn.Linear(2, 2)))
        ['weight', 'bias']
    """
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    return {state_name(name): tensor for name, tensor in tensors.items()}


def adapter_tensors(
    model: nn.Module, layer_cls: type[BaseTunerLayer], adapter_name: str
) -> dict[str, Tensor]:
    """Give the tensors of an adapter's layers by their names in a state dict.

    Args:
        model: the model with the adapter's layers in place.
        layer_cls: the class of the method's layers.
        adapter_name: the adapter.

    Returns:
        The tensors themselves.
    """
    return {
        f"{state_name(module_name)}.{attribute}.{adapter_name}".removeprefix("."): getattr(module, attribute)[
            adapter_name
        ]
        for module_name, module in model.named_modules()
        if isinstance(module, layer_cls)
        for attribute in module.adapter_layer_names
        if adapter_name in getattr(module, attribute)
    }


def check_adapter_keys(
    model: nn.Module,
    layer_cls: type[BaseTunerLayer],
    adapter_name: str,
    state_dict: Mapping[str, Tensor],
    biases: Collection[str] = (),
) -> None:
    """Raise unless a state dict has all of the adapter's tensors, in their shapes, and none beside them.

    Args:
        model: the model with the adapter's layers in place.
        layer_cls: the class of the method's layers.
        adapter_name: the adapter that is being loaded.
        state_dict: tensors by the names they have in the model, adapter name included.
        biases: names of the base model's biases that are trained and saved with the adapter.

    Raises:
        ConfigError: with the number and the first few of the missing and the unexpected keys, or of the
            tensors of another shape or of integers.
    """
    known = named_tensors(model)
    given = {
        key if key in known else key.removeprefix(_PEFT_PREFIX): value for key, value in state_dict.items()
    }
    own = adapter_tensors(model, layer_cls, adapter_name)
    own |= {name: known[name] for name in biases}
    embeddings = _embedding_names(model)
    beside = {key: value for key, value in known.items() if _may_come_along(key, embeddings, adapter_name)}
    missing, unexpected = own.keys() - given.keys(), given.keys() - own.keys() - beside.keys()
    if missing or unexpected:
        raise ConfigError(
            f"The file of adapter {adapter_name!r} must hold exactly the {len(own)} tensors of its config"
            f"{_listed('but lacks', missing)}{_listed('but adds', unexpected)}. {_ADVICE}"
        )
    unfit = {
        name: (value, expected)
        for name, expected in (beside | own).items()
        if (value := given.get(name)) is not None and not _fits(value, expected)
    }
    if unfit:
        wrong = [
            f"{name} ({_described(value)} instead of {_described(expected)})"
            for name, (value, expected) in unfit.items()
        ]
        shapes = [(_shape(value), _shape(expected)) for value, expected in unfit.values()]
        raise ConfigError(
            f"The file of adapter {adapter_name!r} must hold tensors that fit its config and the model"
            f"{_listed('but does not in', wrong)}. {_resizing(model, shapes)}{_ADVICE}"
        )


def _fits(value: Tensor, expected: Tensor) -> bool:
    return _shape(value) == _shape(expected) and value.is_floating_point() == expected.is_floating_point()


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {_shape(tensor)}"


def _shape(tensor: Tensor) -> tuple[int, ...]:
    # DeepSpeed's ZeRO-3 keeps the shape of a parameter that is not gathered beside it.
    return tuple(getattr(tensor, "ds_shape", tensor.shape))


def _may_come_along(key: str, embeddings: list[str], adapter_name: str) -> bool:
    """Whether peft saves this tensor of the model beside the adapter's own.

    These are the modules to save of the same adapter, the embeddings, which peft adds when the vocabulary was
    resized, and biases of the base model: peft loads them also where the config says `bias: none`, as its
    suite checks.
    """
    if (
        f".modules_to_save.{adapter_name}." in key
        or f".token_adapter.trainable_tokens_delta.{adapter_name}" in key
    ):
        return True
    if (key == "bias" or key.endswith(".bias")) and ".modules_to_save." not in key:
        return True
    return any(key.startswith(f"{name}.") for name in embeddings)


def _embedding_names(model: Any) -> list[str]:
    if not hasattr(model, "get_input_embeddings"):
        return []
    try:
        embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    except NotImplementedError:
        # transformers' vision models that have none.
        return []
    return [state_name(name) for name, module in model.named_modules() if module in embeddings]


def _resizing(model: Any, shapes: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """Say how to give the model the vocabulary of the file, where nothing else differs."""
    vocabulary = getattr(getattr(model, "config", None), "vocab_size", None)
    sizes = set()
    for saved, own in shapes:
        if len(saved) != len(own):
            return ""
        different = [pair for pair in zip(saved, own, strict=True) if pair[0] != pair[1]]
        if len(different) != 1 or different[0][1] != vocabulary:
            return ""
        sizes.add(different[0][0])
    if len(sizes) != 1:
        return ""
    (size,) = sizes
    return (
        f"The file has tensors for a vocabulary of {size}, the model has {vocabulary}: call "
        f"resize_token_embeddings({size}) of the base model before it gets the adapter. Otherwise: "
    )


def _listed(verb: str, keys: Iterable[str]) -> str:
    names = sorted(keys)
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f", {verb} {len(names)}: {', '.join(names[:_SHOWN])}{more}"
