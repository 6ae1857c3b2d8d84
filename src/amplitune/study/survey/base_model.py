"""The model of a survey: its shapes from a config, without weights."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from amplitune.errors import ConfigError
from amplitune.study.data.examples import TaskKind
from amplitune.study.running.models import AUTO_CLASSES, BUNDLED, resolve_model


def load_shapes(name: str, kind: TaskKind | None = None) -> tuple[PreTrainedModel, TaskKind]:
    """Build a model on the meta device from its config alone.

    Args:
        name: a hub id, a folder (weights are not needed), a config.json, or a bundled model.
        kind: what it is for; unset, generation if the config names a class for that, or else
            classification.

    Returns:
        The model and what it is for.

    Raises:
        ConfigError: there is no such config, or transformers has no model of that kind for it.
    """
    config = _config(name)
    chosen = kind or _kind(config)
    try:
        with torch.device("meta"):
            return AUTO_CLASSES[chosen].from_config(config), chosen
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"`--task` must be a kind of task that {name} can do, but is {chosen!r}: "
            f"{str(error).splitlines()[0]}\nTry the other of {', '.join(AUTO_CLASSES)}."
        ) from error


def _config(name: str) -> PretrainedConfig:
    place = Path(resolve_model(name)).expanduser()
    try:
        return AutoConfig.from_pretrained(str(place) if place.exists() else name)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"`MODEL` must be a hub id, a folder with a config.json, such a file, or one of "
            f"{', '.join(BUNDLED)}, but {name!r} cannot be read: {reason}\n"
            "Correct it; without a network, give a folder or a file."
        ) from error


def _kind(config: Any) -> TaskKind:
    classes = config.architectures or ()
    if any("ForCausalLM" in one or "LMHead" in one for one in classes):
        return "generation"
    return "classification" if classes else _kind_of_unnamed(config)


def _kind_of_unnamed(config: Any) -> TaskKind:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return "classification" if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES else "generation"
