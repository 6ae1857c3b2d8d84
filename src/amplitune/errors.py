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


def near_matches(name: str, valid: Iterable[str]) -> str:
    """Name the valid spellings nearest to `name`, as the end of an error message.

    Args:
        name: what was given.
        valid: every name that would have been accepted.

    Returns:
        A sentence: the near matches if there are any, otherwise all valid names, sorted.

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
    return f"Valid names: {', '.join(repr(match) for match in names)}."
