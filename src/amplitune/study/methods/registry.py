"""The fine-tuning methods of a comparison as data: what each trains and how it wraps a model."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import peft
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import PreTrainedModel

from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.proximal import create_sora_optimizer
from amplitune.adapters.weight_decay import weight_decay_groups
from amplitune.errors import ConfigError, near_matches

TASK_TYPES = {"generation": "CAUSAL_LM", "classification": "SEQ_CLS"}
"""peft's task type for each kind of task."""


@dataclass(frozen=True)
class Method:
    """One way to fine-tune a model.

    Args:
        name: the name by which a study asks for it.
        trains: "nothing" (the untouched model), "everything" (full fine-tuning) or "adapter".
        peft_type: peft's name of the adapter, for "adapter".
        learning_rate: default peak learning rate, used where the study sets none.
        config: default settings of the adapter's config.
        gradient_checkpointing: whether the method can be trained with it.
    """

    name: str
    trains: str
    peft_type: str | None = None
    learning_rate: float = 1e-3
    config: Mapping[str, Any] = field(default_factory=dict)
    gradient_checkpointing: bool = True


METHODS = {
    method.name: method
    for method in (
        Method("base", "nothing"),
        # A bias on the output of every linear layer; on classification, peft trains the head besides.
        Method(
            "bias",
            "adapter",
            "CONTROL",
            learning_rate=2e-3,
            config={"features": "bias", "target_modules": "all-linear"},
        ),
        Method("full", "everything", learning_rate=2e-5),
        Method("lora", "adapter", "LORA", learning_rate=2e-4, config={"r": 8, "lora_alpha": 16}),
        # Past key values of a wrong length reach a recomputed layer (peft, transformers 5.23).
        Method(
            "prefix",
            "adapter",
            "PREFIX_TUNING",
            learning_rate=1e-2,
            config={"num_virtual_tokens": 20},
            gradient_checkpointing=False,
        ),
        Method("sora", "adapter", "SORA", learning_rate=2e-4, config={"r": 8, "lora_alpha": 16}),
        Method("qaa", "adapter", "QAA", learning_rate=2e-3),
        Method("qaa-frozen", "adapter", "QAA", learning_rate=2e-3, config={"train_angles": False}),
        Method("qaa-no-entangler", "adapter", "QAA", learning_rate=2e-3, config={"entangler": "none"}),
        Method("qaa-projection", "adapter", "CONTROL", learning_rate=2e-3, config={"features": "projection"}),
        Method("qaa-squares", "adapter", "CONTROL", learning_rate=2e-3, config={"features": "squares"}),
        Method("qaa-givens", "adapter", "CONTROL", learning_rate=2e-3, config={"features": "givens"}),
    )
}
"""The named methods. Any other peft method is found by its peft name in lower case."""

REFERENCES = ("base", "bias", "full")
"""What checks a task: the untouched model, biases (and the head) alone, and full fine-tuning."""

CONTROLS = ("qaa-frozen", "qaa-no-entangler", "qaa-projection", "qaa-squares", "qaa-givens")
"""What tells whether QAA's result is due to its circuit; each changes or replaces one part of it."""


def find_method(name: str) -> Method:
    """The method of that name.

    Args:
        name: one of `METHODS` or, in lower case, any method that peft knows ("ia3", "vera", ...).

    Raises:
        ConfigError: the name is neither.

    Example:
        >>> find_method("ia3").peft_type
        'IA3'
    """
    if name in METHODS:
        return METHODS[name]
    others = {str(kind.value).lower(): str(kind.value) for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    if name in others:
        return Method(name, "adapter", others[name])
    raise ConfigError(
        f"`method` must be one of {', '.join(METHODS)} or a peft method's name, but is {name!r}. "
        + near_matches(name, {*METHODS, *others})
    )


def adapter_config(method: Method, kind: str, settings: Mapping[str, Any]) -> peft.PeftConfig:
    """The method's peft config for a kind of task.

    Args:
        method: a method whose `trains` is "adapter".
        kind: "generation" or "classification".
        settings: keys of the config that the study sets.

    Raises:
        ConfigError: a key that the config does not have, or a value that it refuses.
    """
    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(method.peft_type)]
    valid = {entry.name for entry in dataclasses.fields(config_class)}
    for key in settings:
        if key not in valid:
            raise ConfigError(
                f"`config.{key}` is not a setting of {config_class.__name__} (method {method.name}). "
                + near_matches(key, valid)
            )
    try:
        return config_class(**{**method.config, "task_type": TASK_TYPES[kind], **settings})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"`config` of method {method.name} is refused by {config_class.__name__}: {error}"
        ) from error


def refuse_settings(method: Method, settings: Mapping[str, Any]) -> None:
    """Refuse settings of an adapter for a method that has none (`base`, `full`).

    Raises:
        ConfigError: there are some.
    """
    if settings:
        raise ConfigError(
            f"`config` must be empty for method {method.name}, but is {dict(settings)!r}. Remove it."
        )


def apply_method(
    model: PreTrainedModel, method: Method, kind: str, settings: Mapping[str, Any]
) -> torch.nn.Module:
    """Prepare a freshly loaded model for training by the method.

    Args:
        model: the pretrained model, on any device ("meta" too).
        method: what to do with it.
        kind: "generation" or "classification".
        settings: the study's settings for the adapter's config.

    Returns:
        The model itself (`base`, `full`) or a `peft.PeftModel` around it, with `requires_grad` as trained.

    Raises:
        ConfigError: the settings do not fit the model, such as target modules that match nothing.
        NotImplementedError: the method needs weights, and the model is on the meta device.
    """
    if method.trains != "adapter":
        refuse_settings(method, settings)
        model.requires_grad_(method.trains == "everything")
        return model
    config = adapter_config(method, kind, settings)
    try:
        wrapped = peft.get_peft_model(model, config)
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        # Some methods compute their start from the weights, which a model on the meta device does not have.
        if isinstance(error, NotImplementedError) and model.device.type == "meta":
            raise
        raise ConfigError(
            f"Method {method.name} does not fit {type(model).__name__}: {error}\n"
            "Set what it needs in the method's `config` (its `target_modules`, say), or leave the method out."
        ) from error
    if not any(parameter.requires_grad and parameter.numel() for parameter in wrapped.parameters()):
        raise ConfigError(
            f"Method {method.name} must train something of {type(model).__name__}, but trains nothing.\n"
            "Set what it needs in the method's `config`, or leave the method out."
        )
    return wrapped


def create_optimizer(
    model: torch.nn.Module, settings: peft.PeftConfig | None, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW over the trainable parameters; for SoRA, followed by the proximal step on the gates.

    Weights of matrices decay; biases and normalisation weights do not, as usual and as with SoRA.
    """
    if isinstance(settings, SoRAConfig):
        return create_sora_optimizer(model, torch.optim.AdamW, lr=learning_rate, weight_decay=weight_decay)
    groups = weight_decay_groups(parameter for parameter in model.parameters() if parameter.requires_grad)
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
