"""The check of a method's `config` against the fields of its peft config, key by key."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

import peft
import pydantic
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from amplitune.errors import near_matches
from amplitune.study.methods.registry import Method
from amplitune.study.settings.problems import Problem

_WORDS = {bool: "true or false", int: "a number", float: "a number", str: "text", type(None): "null"}


def setting_problems(method: Method, settings: Mapping[str, Any]) -> list[Problem]:
    """Find what is wrong with the settings of an adapter, without making its config.

    Values are checked where peft declares a field as a number, text, a truth value or a choice of these; what
    else a config refuses it refuses itself.

    Args:
        method: a method whose `trains` is "adapter".
        settings: keys of its config that the study sets.

    Returns:
        A problem for each unknown key and each value of a wrong type, located in `config`.
    """
    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method.peft_type)]
    fields = {entry.name: entry for entry in dataclasses.fields(config_class)}
    hints = _hints(config_class)
    problems = []
    for key, value in settings.items():
        location = ("config", key)
        if key not in fields:
            hint = near_matches(str(key), fields)
            text = f" is not a setting of {config_class.__name__} (method {method.name}). {hint}"
            problems.append(Problem(location, text))
        elif value != fields[key].default and not _fits(value, hints.get(key)):
            expected = " or ".join(dict.fromkeys(_described(member) for member in _members(hints[key])))
            text = (
                f" (a setting of {config_class.__name__}) must be {expected}, but is {value!r}. Correct it."
            )
            problems.append(Problem(location, text))
    return problems


def _hints(config_class: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(config_class)
    except (NameError, TypeError):
        return {}  # an annotation of peft's that cannot be read checks nothing


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    members = _members(hint)
    if not all(member in _WORDS or typing.get_origin(member) is typing.Literal for member in members):
        return True
    if isinstance(value, float) and int in members:
        return True  # lora_alpha and its like are declared as integers, yet any number serves
    try:
        pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError:
        return False
    return True


def _described(member: Any) -> str:
    if typing.get_origin(member) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(member)))
    return _WORDS[member]
