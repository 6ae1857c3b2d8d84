"""The table of what tuning varies for each method."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from amplitune.adapters.control.config import FIELDS_OF
from amplitune.errors import ConfigError, near_matches
from amplitune.study.methods.adapter_settings import setting_problems
from amplitune.study.methods.registry import Method, adapter_config
from amplitune.study.settings.problems import InvalidKeysError
from amplitune.study.settings.training_config import TrainingConfig
from amplitune.study.tuning.space import Choices, Range, Space, parse_space

LEARNING_RATE = "learning_rate"

# Three decades for each method, so that a grid of as many rates is as fine for one as for another. Full
# fine-tuning wants the smallest rates; few numbers that act on every token (virtual tokens, biases, angles)
# want larger ones.
LEARNING_RATES = {
    "full": Range(3e-6, 3e-3, log=True),
    "bias": Range(1e-4, 1e-1, log=True),
    "lora": Range(3e-5, 3e-2, log=True),
    "sora": Range(3e-5, 3e-2, log=True),
    "prefix": Range(1e-3, 1.0, log=True),
    "prompt_tuning": Range(1e-3, 1.0, log=True),
    "p_tuning": Range(1e-3, 1.0, log=True),
    "qaa": Range(1e-4, 1e-1, log=True),
}
"""Learning rates of each method, on the scale on which they matter."""

OTHER_LEARNING_RATES = Range(1e-4, 1e-1, log=True)
"""Those of a method that has no entry: QAA's controls, which get what QAA gets, and any other peft method."""

SIZES: dict[str, dict[str, Space]] = {
    "lora": {"config.r": Choices((2, 4, 8, 16, 32))},
    "sora": {"config.r": Choices((2, 4, 8, 16, 32))},
    "prefix": {"config.num_virtual_tokens": Choices((5, 10, 20, 40))},
    "prompt_tuning": {"config.num_virtual_tokens": Choices((5, 10, 20, 40))},
    "loha": {"config.r": Choices((2, 4, 8, 16))},
    "lokr": {"config.r": Choices((2, 4, 8, 16))},
}
"""How large each method may be, besides QAA and its controls, which have `CIRCUIT_SIZES`."""

CIRCUIT_SIZES: dict[str, Space] = {
    "config.circuits": Choices((1, 2, 4)),
    "config.depth": Choices((1, 2, 4)),
    "config.readout": Choices(("Z", "Z+ZZ")),
    "config.width": Choices(("Z", "Z+ZZ")),
}
"""How large QAA may be, and a control of it: what it has of these. A control's width is that of a readout."""

TRAINING_KEYS = ("weight_decay", "warmup_steps", "max_grad_norm", "lr_scheduler_type")
"""Training settings that may differ between methods without giving one of them more data or more steps."""


def search_spaces(
    method: Method,
    config: Mapping[str, Any],
    override: Mapping[str, Any] | None = None,
    matched: bool = False,
) -> dict[str, Space]:
    """What tuning varies for a method of a study.

    Args:
        method: the method.
        config: the settings of its adapter that the study gives; kept, unless `override` names them.
        override: the study's own spaces, in place of the table's.
        matched: the method's size is fixed by a number of parameters, so only the learning rate is tuned.

    Returns:
        Setting to space, the learning rate first; empty for a method that trains nothing.

    Raises:
        ConfigError: a key or a value of `override` is not what it must be.

    Example:
        >>> from amplitune.study.methods.registry import find_method
        >>> list(search_spaces(find_method("lora"), {}))
        ['learning_rate', 'config.r']
        >>> list(search_spaces(find_method("lora"), {"r": 16}))
        ['learning_rate']
    """
    if method.trains == "nothing":
        if override:
            raise ConfigError(
                f"`search_space` must be unset for method {method.name}, which trains nothing, but is "
                f"{dict(override)!r}. Remove it."
            )
        return {}
    if override is not None:
        spaces = {key: parse_space(key, value, key == LEARNING_RATE) for key, value in override.items()}
        _check(method, config, spaces)
        if matched:
            spaces = {key: space for key, space in spaces.items() if not key.startswith("config.")}
        return {key: spaces[key] for key in sorted(spaces, key=lambda key: key != LEARNING_RATE)}
    rates = LEARNING_RATES.get(method.name, OTHER_LEARNING_RATES)
    sizes = {
        key: space
        for key, space in sizes_of(method, config).items()
        if _name(key) not in config and not matched
    }
    return {LEARNING_RATE: rates, **sizes}


def sizes_of(method: Method, config: Mapping[str, Any]) -> dict[str, Space]:
    """The settings that make a method larger or smaller, with values to try; empty where it has none.

    Args:
        method: the method.
        config: the settings of its adapter that the study gives.
    """
    fields: Collection[str] = ()
    if method.peft_type == "QAA":
        # The preset asserts the paper's circuit: another size would be refused.
        fields = () if config.get("preset") else ("circuits", "depth", "readout")
    elif method.peft_type == "CONTROL":
        fields = FIELDS_OF[{**method.config, **config}.get("features", "projection")]
    circuit = {key: space for key, space in CIRCUIT_SIZES.items() if _name(key) in fields}
    return SIZES.get(method.name, circuit)


def default_value(key: str, method: Method, config: Mapping[str, Any], training: TrainingConfig) -> Any:
    """What a setting is where tuning does not set it.

    Args:
        key: `learning_rate`, `training.<key>` or `config.<key>`.
        method: the method.
        config: the settings of its adapter that the study gives.
        training: the training settings of its runs.
    """
    if key == LEARNING_RATE:
        return training.learning_rate
    if key.startswith("training."):
        return getattr(training, _name(key))
    return getattr(adapter_config(method, "generation", config), _name(key))


def config_fields(method: Method) -> set[str]:
    """The settings of a method's adapter; none for a method without one."""
    if method.trains != "adapter":
        return set()
    return {
        entry.name for entry in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(method.peft_type)])
    }


def _check(method: Method, config: Mapping[str, Any], spaces: Mapping[str, Space]) -> None:
    valid = [LEARNING_RATE, *(f"training.{key}" for key in TRAINING_KEYS)]
    valid += [f"config.{key}" for key in sorted(config_fields(method))]
    for key, space in spaces.items():
        if key not in valid:
            near = near_matches(key, valid) if len(valid) < 12 else _near(key, valid)
            raise ConfigError(
                f"`search_space.{key}` is not a setting that tuning may vary for method {method.name}: these "
                f"are {LEARNING_RATE}, training.<key> with {', '.join(TRAINING_KEYS)}, and config.<key> with "
                f"a setting of its adapter. {near}".strip()
            )
        for value in space.samples():
            try:
                if key.startswith("config."):
                    if problems := setting_problems(method, {_name(key): value}):
                        raise InvalidKeysError(problems)
                    adapter_config(method, "generation", {**config, _name(key): value})
                else:
                    TrainingConfig.parse({_name(key): value})
            except ConfigError as error:
                raise ConfigError(
                    f"`search_space.{key}` must hold values that can be set, but {error}"
                ) from None


def _near(key: str, valid: list[str]) -> str:
    near = near_matches(key, valid)
    return near if near.startswith("Did you mean") else ""


def _name(key: str) -> str:
    return key.rpartition(".")[2]
