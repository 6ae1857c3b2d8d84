"""Batches that mix adapters: `model(**inputs, adapter_names=[...])`, one name for each row."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from amplitune.errors import ConfigError, near_matches

BASE = "__base__"
"""peft's name for rows that get no adapter."""


def rows_by_adapter(adapter_names: Sequence[str], device: torch.device) -> dict[str, Tensor]:
    """Group the rows of a batch by adapter.

    Args:
        adapter_names: an adapter, or "__base__", for each row.
        device: where the indices are needed.

    Returns:
        Adapter -> indices of its rows, int64, in the order in which the adapters first appear.

    Example:
        >>> rows_by_adapter(["a", "__base__", "a"], torch.device("cpu"))
        {'a': tensor([0, 2])}
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(adapter_names):
        if name != BASE:
            rows.setdefault(name, []).append(row)
    return {name: torch.tensor(indices, device=device) for name, indices in rows.items()}


def check_mixed_batch(adapter_names: Sequence[str], rows: int, merged: bool) -> None:
    """Refuse names that do not fit the batch, and a layer that has an adapter in its weights.

    Args:
        adapter_names: an adapter for each row.
        rows: the number of rows.
        merged: whether the layer has merged adapters.

    Raises:
        ConfigError: the numbers differ, or an adapter is merged.
    """
    if len(adapter_names) != rows:
        raise ConfigError(
            "Length of `adapter_names` should be the same as the number of inputs, but got "
            f"{len(adapter_names)} and {rows} respectively. Name an adapter for each row, or '{BASE}'; where "
            "generation is to make several rows of each, say so in the call, with `num_beams` or "
            "`num_return_sequences`. A module that gets the tokens of all rows in one dimension, as in OPT's "
            "MLP and in mixtures of experts, cannot be in such a batch: leave it out of `target_modules`."
        )
    if merged:
        raise ConfigError(
            "Cannot pass `adapter_names` when there are merged adapters, please call `unmerge_adapter` first."
        )


def rows_in_generation(model: Any, arguments: Mapping[str, Any]) -> int:
    """Tell how many rows generation makes of each row of its input: beams, or sequences to return.

    Args:
        model: the model that may generate.
        arguments: what its `generate`, or its `forward`, is called with.

    Returns:
        The number, 1 unless the arguments say otherwise. What the model's own `generation_config` says counts
        only beside a `generation_config` in the call: without one, this may be a forward pass.

    Example:
        >>> rows_in_generation(nn.Module(), {"num_beams": 3, "num_return_sequences": 2})
        3
    """
    given = arguments.get("generation_config")
    sources = [] if given is None else [given, getattr(model, "generation_config", None)]
    found = 1
    for name in ("num_beams", "num_return_sequences"):
        values = [arguments.get(name), *(getattr(source, name, None) for source in sources)]
        found = max(found, next((value for value in values if isinstance(value, int)), 1))
    return found


@contextmanager
def mixed_batch(
    tuner: nn.Module,
    layer_cls: type[BaseTunerLayer],
    adapter_names: Sequence[str],
    arguments: Mapping[str, Any],
) -> Iterator[None]:
    """Hand the adapters of a batch's rows to the layers while the model runs.

    Args:
        tuner: the tuner, its model inside.
        layer_cls: the class of the method's layers.
        adapter_names: an adapter for each row of the batch.
        arguments: what the model is called with; see `rows_in_generation`.

    Raises:
        ConfigError: the model is in training mode, the names are no list, or no layer has such an adapter.
    """
    if tuner.training:
        raise ConfigError(
            "Cannot pass `adapter_names` when the model is in training mode: peft mixes adapters at "
            "inference only. Call model.eval() first; to train several adapters, train one after the other."
        )
    if not isinstance(adapter_names, list | tuple):
        raise ConfigError(
            "`adapter_names` must be a list with an adapter for each row, but is of type "
            f"{type(adapter_names).__name__}. Give [{adapter_names!r}] for a single row."
        )
    for name in adapter_names:
        if not isinstance(name, str):
            raise ConfigError(
                f"`adapter_names` must have the name of an adapter for each row, but has {name!r}. Give "
                f"{BASE!r} to rows without one."
            )
    layers = [module for module in tuner.modules() if isinstance(module, layer_cls)]
    wrappers = [module for module in tuner.modules() if isinstance(module, AuxiliaryTrainingWrapper)]
    known = {
        name
        for layer in layers
        for attribute in layer.adapter_layer_names
        for name in getattr(layer, attribute)
    }
    unknown = sorted(set(adapter_names) - known - {BASE})
    if unknown:
        raise ConfigError(
            f"Trying to infer with non-existing adapter(s): {', '.join(unknown)}. "
            f"{near_matches(unknown[0], {*known, BASE})}"
        )
    repeats = rows_in_generation(tuner.model, arguments)
    hooks = [
        module.register_forward_pre_hook(
            partial(_name_adapters, adapter_names=list(adapter_names), repeats=repeats), with_kwargs=True
        )
        for module in [*layers, *wrappers]
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _name_adapters(
    module: nn.Module, args: Any, kwargs: dict[str, Any], *, adapter_names: list[str], repeats: int
) -> tuple[Any, dict[str, Any]]:
    # An encoder sees each row once, the decoder that generates from it each row as often as it is repeated.
    x = args[0] if args else None
    if isinstance(x, Tensor) and x.dim() and len(x) == repeats * len(adapter_names):
        adapter_names = [name for name in adapter_names for _ in range(repeats)]
    return args, kwargs | {"adapter_names": adapter_names}
