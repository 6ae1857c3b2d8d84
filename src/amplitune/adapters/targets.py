"""The check of a config's names of modules, and indices of layers, against those of a model."""

import copy
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from amplitune.errors import ConfigError, near_matches

#: What peft adds to `modules_to_save` by the task type, whichever of them the model has.
_HEADS_OF_TASKS = ("classifier", "score", "qa_outputs")
_NEVER_CALLED = (nn.ModuleDict, nn.ModuleList, nn.ParameterDict, nn.ParameterList)


def check_targets(config: Any, modules: Mapping[str, nn.Module], targets: Sequence[str]) -> None:
    """Refuse names and indices that cannot mean what they say, and warn of those that mean nothing.

    Args:
        config: a method's config, "all-linear" written out.
        modules: the model's modules by name; what is inside of adapters' layers left out.
        targets: names of those that get an adapter.

    Raises:
        ConfigError: naming the field, the name or index, and what to write instead.

    Warns:
        UserWarning: a name of `target_modules` is that of no module.
    """
    _check_indices(config, modules)
    _check_exclusions(config, modules, targets)
    for name in targets:
        owner = _saved_in(name, modules)
        if owner is not None:
            raise ConfigError(
                f"`target_modules` must name modules that no adapter trains in full, but has {name}, and "
                f"{owner} is in another adapter's `modules_to_save`. Take it out of `target_modules`, or put "
                "it into the `modules_to_save` of this adapter too."
            )
    if targets and isinstance(config.target_modules, set):
        endings = {name.rsplit(".", 1)[-1] for name in modules}
        for key in sorted(config.target_modules):
            if key not in modules and not _named(key, modules):
                _warn_of("target_modules", key, endings)


def outside_saved(names: Iterable[str], modules: Mapping[str, nn.Module]) -> set[str]:
    """Leave out what adapters of the model train in full, and what is inside of that.

    Args:
        names: names of modules.
        modules: the model's modules by name.

    Returns:
        The other names.
    """
    return {name for name in names if _saved_in(name, modules) is None}


def check_saved(config: Any, model: nn.Module, adapter_name: str, parameters: Iterable[str]) -> None:
    """Refuse modules to save that cannot be trained in full, and warn of names that mean none.

    Args:
        config: a method's config.
        model: the model, with the adapters that it has already.
        adapter_name: the new adapter's name.
        parameters: what the method's layers call the parameters of an adapter.

    Raises:
        ConfigError: naming the module, and what is in the way.

    Warns:
        UserWarning: a name is that of no module.
    """
    modules = dict(model.named_modules())
    for key in config.modules_to_save or ():
        own = next((name for name in parameters if name.endswith(key)), None)
        if own is not None:
            raise ConfigError(
                f"`modules_to_save` must name modules of the model, but {key!r} is the end of {own} too, "
                "which an adapter has in each of its layers. Give more of the module's name, such as "
                f"{'mlp.' + key!r}."
            )
        if adapter_name.endswith(key):
            raise ConfigError(
                f"`modules_to_save` must name modules of the model, but {key!r} is the end of the adapter's "
                f"own name {adapter_name!r} too, by which modules of the adapter are named. Choose another "
                "name for the adapter, or give more of the module's name."
            )
        # As peft does: the end of a name, also of its last word.
        found = [name for name in modules if name and name.endswith(key)]
        if not found and key not in _HEADS_OF_TASKS:
            _warn_of("modules_to_save", key, {name.rsplit(".", 1)[-1] for name in modules})
        for name in found:
            if (reason := _not_saved_because(name, modules)) is not None:
                raise ConfigError(
                    f"`modules_to_save` must name modules that can be trained in full, but {key!r} is the "
                    f"end of {name}, {reason}. Name another module, or more of the name of the one that is "
                    "meant."
                )


def _not_saved_because(name: str, modules: Mapping[str, nn.Module]) -> str | None:
    module = modules[name]
    if isinstance(module, _NEVER_CALLED):
        return f"a {type(module).__name__}, which is never called"
    if isinstance(module, AuxiliaryTrainingWrapper):
        return None
    if (owner := _saved_in(name, modules)) is not None:
        return f"inside {owner}, which another adapter trains in full"
    if any(isinstance(part, BaseTunerLayer) for part in module.modules()):
        return "which has an adapter, or has modules with one"
    if any(isinstance(modules[above], BaseTunerLayer) for above in _above(name)):
        return "a part of an adapter"
    return None


def _above(name: str) -> list[str]:
    """Names of the modules that a module is in, the nearest last; of the model itself none."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _saved_in(name: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The module that peft has wrapped to train it in full, if this is it or a part of it."""
    for candidate in [*_above(name), name]:
        if isinstance(modules.get(candidate), AuxiliaryTrainingWrapper):
            return candidate
    return None


def why_no_target(config: Any, modules: Mapping[str, nn.Module], possible: Iterable[str]) -> str:
    r"""Say why a config matches no module, and what to write instead.

    Args:
        config: a method's config.
        modules: the model's modules by name.
        possible: last parts of the names of modules that could have an adapter.

    Returns:
        A sentence or two.

    Example:
        >>> from types import SimpleNamespace
        >>> config = SimpleNamespace(target_modules="q_proj", exclude_modules=None, modules_to_save=None)
        >>> why_no_target(config, {"layers.0.q_proj": nn.Linear(2, 2)}, ["q_proj"])
        "A str is a regular expression for whole names: give ['q_proj'], or '.*\\\\.q_proj'."
    """
    targets, names = config.target_modules, list(modules)
    if isinstance(targets, str):
        if _named(targets, names):
            pattern = rf".*\.{re.escape(targets)}"
            return f"A str is a regular expression for whole names: give [{targets!r}], or {pattern!r}."
        return f"{near_matches(targets, possible)} A str is a regular expression for whole names."
    found = [name for key in sorted(targets) for name in _named(key, names)]
    if not found:
        for key in sorted(targets):
            if key.lower() == "all-linear":
                return f"Give it as a str, target_modules: {key!r}: in a list it is a module's name."
            if any(key in module._parameters for module in modules.values()):
                return (
                    f"{key!r} is a parameter, not a module: `target_parameters` of LoraConfig adapts those."
                )
        return near_matches(min(targets, default=""), possible)
    without = copy.copy(config)
    without.modules_to_save = None
    if any(check_target_module_exists(without, name) for name in found):
        return (
            f"{found[0]} is in `modules_to_save` {config.modules_to_save!r}, or inside a module that is: a "
            "module that is trained in full has no adapter. Take it out of one of the two fields."
        )
    without.exclude_modules = None
    if any(check_target_module_exists(without, name) for name in found):
        return f"`exclude_modules` {config.exclude_modules!r} leaves none of them: take a name out of it."
    return (
        "`layers_to_transform` and `layers_pattern` leave none of them: these layers have others than "
        f"{found[0]}."
    )


def _named(key: str, names: Iterable[str]) -> list[str]:
    """The modules that a name in a list means, as peft matches them: by the whole name or its end."""
    return [name for name in names if name == key or name.endswith(f".{key}")]


def _warn_of(field: str, key: str, endings: set[str]) -> None:
    warnings.warn(
        f"`{field}` has {key!r}, which is the name of no module of the model, nor the end of one, and so has "
        f"no effect. {near_matches(key, endings)}",
        stacklevel=2,
    )


def _check_indices(config: Any, modules: Mapping[str, nn.Module]) -> None:
    given = config.layers_to_transform
    if given is None or isinstance(config.target_modules, str):
        return
    probe = copy.copy(config)
    probe.exclude_modules = probe.modules_to_save = None

    def exists(index: int) -> bool:
        probe.layers_to_transform = index
        for name in modules:
            # A whole name would match whatever the index.
            probe.target_modules = {name.rsplit(".", 1)[-1]} - {name}
            if check_target_module_exists(probe, name):
                return True
        return False

    for index in [given] if isinstance(given, int) else given:
        if exists(index):
            continue
        last = next(index for index in range(len(modules)) if not exists(index)) - 1
        pattern = "" if not config.layers_pattern else f" in {config.layers_pattern!r} (`layers_pattern`)"
        raise ConfigError(
            f"`layers_to_transform` must have indices of layers of the model, but has {index}, which no "
            f"layer has{pattern}. "
            + (f"Give indices from 0 to {last}." if last >= 0 else "Leave it unset for all layers.")
        )


def _check_exclusions(config: Any, modules: Mapping[str, nn.Module], targets: Sequence[str]) -> None:
    if not isinstance(config.exclude_modules, set):
        return
    for key in sorted(config.exclude_modules):
        for name in _named(key, modules):
            inside = next((target for target in targets if target.startswith(f"{name}.")), None)
            if inside is not None:
                pattern = rf"(.*\.)?{re.escape(key)}(\..*)?"
                raise ConfigError(
                    f"`exclude_modules` must name the modules that would get an adapter, but {key!r} is "
                    f"{name}, and a name in a list does not reach what is inside, such as {inside}. Give a "
                    f"regular expression for whole names instead: exclude_modules: {pattern!r}."
                )
