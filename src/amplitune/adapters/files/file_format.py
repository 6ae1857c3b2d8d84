"""The version of an adapter's files, and the check that an adapter_config.json can be understood."""

import difflib
from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

from amplitune.errors import ConfigError, near_matches

FORMAT_VERSION = 1
"""What the numbers in an adapter's files mean; tests/adapters/files/golden holds adapters of each version.

A version fixes everything that adapter_config.json and adapter_model.safetensors do not say themselves: the
order of wires and amplitudes, the gates and their order, the entanglers' pairs, the observables of a named
readout and their order, the names and shapes of tensors, the drawing of what is fixed and random, and the
default of every field. Whatever changes the outputs of a saved adapter, a new field among it, takes the next
version. Files without the field are of version 1.
"""


def check_format_version(value: object) -> None:
    """Refuse the files of a later version.

    Args:
        value: the config's `format_version`.

    Raises:
        ConfigError: it is no version that this amplitune reads.

    Example:
        >>> check_format_version(1)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"`format_version` must be an integer from 1 to {FORMAT_VERSION}, but is {value!r}. Leave it "
            "unset: it is written when an adapter is saved."
        )
    if value > FORMAT_VERSION:
        raise ConfigError(
            f"`format_version` must be at most {FORMAT_VERSION} for amplitune {version('amplitune')}, but is "
            f"{value}: a later amplitune saved the adapter. Run: pip install -U amplitune"
        )


def check_keys(config_name: str, given: Mapping[str, Any], fields: Collection[str]) -> None:
    """Refuse a key that is nearly the name of a field, because the field would keep its default in silence.

    Keys that resemble no field are left to peft, which ignores them with a warning: later versions of peft
    may write some that do not concern the method.

    Args:
        config_name: the name of the config's class, for the message.
        given: the keys and their values.
        fields: the fields of the config.

    Raises:
        ConfigError: naming the key and the fields that it resembles.

    Example:
        >>> check_keys("QAAConfig", {"foobar": 1}, ["rotation", "depth"])
        >>> check_keys("QAAConfig", {"rotaton": "RY"}, ["rotation", "depth"])
        Traceback (most recent call last):
        amplitune.errors.ConfigError: `rotaton` is not a field of QAAConfig. Did you mean 'rotation'?
    """
    for key in given:
        if key not in fields and difflib.get_close_matches(key, fields, n=1, cutoff=0.6):
            raise ConfigError(f"`{key}` is not a field of {config_name}. {near_matches(key, fields)}")
