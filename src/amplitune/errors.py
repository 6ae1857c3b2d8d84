"""The errors that amplitune raises, each naming what was asked, what arrived and what to do next."""

import difflib
from collections.abc import Iterable


class AmplituneError(Exception):
    """Base of every error that amplitune raises on purpose."""


class ConfigError(AmplituneError, ValueError):
    """An argument or a configuration key has a value it cannot have (exit code 2 on the command line)."""


class DataError(ConfigError):
    """A dataset, one of its columns or one of its examples is not what the task needs (exit code 2)."""


class NotMergeableError(AmplituneError, NotImplementedError):
    """An adapter has no equivalent weight matrix, so it cannot be merged into its base layer."""


class TrainingError(AmplituneError, RuntimeError):
    """Training cannot go on, such as with a loss that is not finite."""


class MissingExtraError(AmplituneError, ImportError):
    """An optional dependency is not installed; the message gives the command that installs it."""


LISTED = 24
"""Valid names that an error message lists."""


def near_matches(name: str, valid: Iterable[str]) -> str:
    """Name the valid spellings nearest to `name`, as the end of an error message.

    Args:
        name: what was given.
        valid: every name that would have been accepted.

    Returns:
        A sentence: the near matches if there are any, otherwise the valid names, sorted, of many the first.

    Example:
        >>> near_matches("lroa", ["lora", "prefix"])
        "Did you mean 'lora'?"
        >>> near_matches("xyz", ["lora", "prefix"])
        "Valid names: 'lora', 'prefix'."
    """
    names = sorted(set(valid))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(match) for match in near)}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"Valid names: {', '.join(repr(match) for match in names[:LISTED])}{more}."


def check_choice(argument: str, value: object, valid: Iterable[str]) -> None:
    """Refuse a name that is not one of those known.

    Args:
        argument: what the name is given as.
        value: what was given.
        valid: every name that is accepted.

    Raises:
        ConfigError: `value` is none of them.

    Example:
        >>> check_choice("gate", "CNO", ("CNOT", "CZ"))
        Traceback (most recent call last):
        amplitune.errors.ConfigError: `gate` must be one of 'CNOT', 'CZ', but is 'CNO'. Did you mean 'CNOT'?
    """
    names = tuple(valid)
    if not isinstance(value, str) or value not in names:
        raise ConfigError(
            f"`{argument}` must be one of {', '.join(map(repr, names))}, but is {value!r}. "
            f"{near_matches(str(value), names)}"
        )


def check_integer(argument: str, value: object, least: int, advice: str = "") -> None:
    """Refuse what is no integer, a truth value among them, or too small.

    Args:
        argument: its name.
        value: what was given.
        least: the smallest that is good.
        advice: what to do instead; left out, the smallest is named again.

    Raises:
        ConfigError: `value` is no integer of at least `least`.

    Example:
        >>> check_integer("depth", 0, 1)
        Traceback (most recent call last):
        amplitune.errors.ConfigError: `depth` must be an integer of at least 1, but is 0. Give 1 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            f"`{argument}` must be an integer of at least {least}, but is {value!r}. "
            f"{advice or f'Give {least} or more.'}"
        )
