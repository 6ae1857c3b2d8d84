"""Settings of single modules: a mapping of module names, endings or regular expressions to values."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from peft.utils.other import get_pattern_key

from amplitune.errors import ConfigError, near_matches

Value = TypeVar("Value")


def pattern_value(pattern: Mapping[str, Value], module_name: str, default: Value) -> Value:
    r"""Look a module's value up, as peft does: the first key that matches the name or its end after a dot.

    `check_patterns_match` refuses keys that would give another value in the order in which they are saved.

    Args:
        pattern: names, endings or regular expressions -> values.
        module_name: the module's name in the model.
        default: the value of modules that no key matches.

    Returns:
        The module's value.

    Example:
        >>> pattern_value({"q_proj": 2, r"layers\.[01]\..*": 3}, "layers.0.v_proj", 1)
        3
    """
    return pattern.get(get_pattern_key(list(pattern), module_name), default)


def exact_key(module_name: str) -> str:
    r"""Write the key that matches one module alone, where its plain name would match as an ending too.

    Example:
        >>> print(exact_key("layers.0"))
        ^layers\.0
    """
    return f"^{re.escape(module_name)}"


def check_pattern(argument: str, pattern: Any, check: Callable[[Any], object]) -> None:
    """Refuse a pattern whose keys are no regular expressions or whose values are refused.

    Args:
        argument: the field's name.
        pattern: its value.
        check: raises ConfigError for a value that is no good.

    Raises:
        ConfigError: naming the field and the key.
    """
    advice = f"Give a mapping of module names to values, such as {argument}: {{q_proj: ...}}."
    if not isinstance(pattern, dict):
        raise ConfigError(f"`{argument}` must be a mapping, but is {pattern!r}. {advice}")
    for key, value in pattern.items():
        if not isinstance(key, str) or not key:
            raise ConfigError(f"`{argument}` must have module names as keys, but has {key!r}. {advice}")
        try:
            re.compile(key)
        except re.error as error:
            raise ConfigError(
                f"`{argument}` must have names, endings or regular expressions as keys, but {key!r} is no "
                f"regular expression: {error}. Write a backslash before a character that stands for itself."
            ) from error
        try:
            check(value)
        except ConfigError as error:
            raise ConfigError(f"`{argument}` has for {key!r} a value it cannot have: {error}") from error


def check_patterns_match(config: Any, module_names: Iterable[str]) -> None:
    """Refuse a key that no module has its value from, and keys whose values depend on the order of a file.

    A key without effect would be ignored in silence. peft sorts the keys when it writes a config: where
    another of the keys that match a module came first then, the saved adapter would not compute what this
    one does.

    Args:
        config: a method's config; its patterns are the mappings among its fields that end in "_pattern", and
            `fused_parts` and `fused_layouts`.
        module_names: the modules that get an adapter.

    Raises:
        ConfigError: naming the field, the key, and near matches or the key that comes first.
    """
    names = list(module_names)
    if not names:
        return
    for entry in dataclasses.fields(config):
        pattern = getattr(config, entry.name)
        if not entry.name.endswith(("_pattern", "fused_parts", "fused_layouts")) or not isinstance(
            pattern, dict
        ):
            continue
        used = {get_pattern_key(list(pattern), name) for name in names}
        for key in pattern:
            if key not in used:
                raise ConfigError(_unused(entry.name, key, list(pattern), names))
        for name in names:
            first, saved = (get_pattern_key(keys, name) for keys in (list(pattern), sorted(pattern)))
            if first != saved and pattern[first] != pattern[saved]:
                raise ConfigError(_ambiguous(entry.name, pattern, name, first, saved))


def _unused(argument: str, key: str, keys: list[str], names: list[str]) -> str:
    taken = [name for name in names if get_pattern_key([key], name) == key]
    if not taken:
        endings = {name.rsplit(".", 1)[-1] for name in names}
        return (
            f"`{argument}` must name modules that get an adapter, but {key!r} matches none of the "
            f"{len(names)}. {near_matches(key, [*endings, *names])} A key is a name, the end of one after a "
            "dot, or a regular expression for either."
        )
    first = get_pattern_key(keys, taken[0])
    return (
        f"`{argument}` must have keys that take effect, but {key!r} has none: {first!r} comes before it and "
        f"matches {taken[0]} too. Put {key!r} first, or remove it."
    )


def _ambiguous(argument: str, pattern: Mapping[str, Any], name: str, first: str, saved: str) -> str:
    apart = rf"^(?!(.*\.)?({first})$)(.*\.)?({saved})"
    return (
        f"`{argument}` must give {name} one value whatever the order of its keys, but has {pattern[first]!r} "
        f"for {first!r} and {pattern[saved]!r} for {saved!r}, which both match it. The first counts, but the "
        f"file of a saved adapter has its keys sorted, and there {saved!r} is the first. Let one of them "
        f"leave the module out: write {apart!r} instead of {saved!r}, or the names of modules in full."
    )
