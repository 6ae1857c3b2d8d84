"""Loading a study's model and tokenizer, with weights or as a skeleton without any."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from amplitune.errors import ConfigError
from amplitune.study.data.tokens import ensure_pad_token
from amplitune.study.settings.config import RunSpec
from amplitune.zoo import MODEL_PATH

AUTO_CLASSES = {"generation": AutoModelForCausalLM, "classification": AutoModelForSequenceClassification}
"""transformers' class for each kind of task."""

BUNDLED = {"zoo:llama": MODEL_PATH}
"""Models that come with amplitune."""


def resolve_model(name: str) -> str:
    """The folder of a bundled model, or the name itself (a hub id or a folder)."""
    return str(BUNDLED.get(name, name))


def load_tokenizer(spec: RunSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a pad token that is not EOS where the vocabulary has one.

    Raises:
        ConfigError: there is no such model.
    """
    tokenizer = _from_pretrained(AutoTokenizer, spec)
    ensure_pad_token(tokenizer)
    return tokenizer


def load_config(
    spec: RunSpec, tokenizer: PreTrainedTokenizerBase, labels: list[str] | None
) -> PretrainedConfig:
    """The model's configuration, set up for the task's labels and the tokenizer's pad token.

    Raises:
        ConfigError: there is no such model.
    """
    config = _from_pretrained(AutoConfig, spec)
    config.pad_token_id = tokenizer.pad_token_id
    if labels is not None:
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
    return config


def load_model(spec: RunSpec, config: PretrainedConfig) -> PreTrainedModel:
    """The pretrained model with its weights; a classifier's new head is drawn from torch's seed."""
    return _from_pretrained(_auto_class(spec), spec, config=config, dtype=_dtype(spec))


def skeleton(spec: RunSpec, config: PretrainedConfig) -> PreTrainedModel:
    """The model on the meta device: every shape and name, no weights, no memory."""
    with torch.device("meta"):
        return _auto_class(spec).from_config(config, trust_remote_code=spec.trust_remote_code)


def _auto_class(spec: RunSpec) -> Any:
    assert spec.task.kind is not None, "the task is resolved before a model is loaded"
    return AUTO_CLASSES[spec.task.kind]


def _dtype(spec: RunSpec) -> Any:
    return "auto" if spec.dtype == "auto" else getattr(torch, spec.dtype)


def _from_pretrained(auto_class: Any, spec: RunSpec, **options: Any) -> Any:
    name = resolve_model(spec.model_name_or_path)
    if _looks_like_path(name) and not Path(name).is_dir():
        raise ConfigError(
            f"`model_name_or_path` must be a folder, a hub id or one of {', '.join(BUNDLED)}, but the folder "
            f"{name} is not there.\nCorrect it; in a study file it is relative to that file's folder."
        )
    if options.get("config") is not None:
        options["use_safetensors"] = True
    try:
        return auto_class.from_pretrained(
            name,
            # A local folder has no revisions.
            revision=None if Path(name).is_dir() else spec.revision,
            trust_remote_code=spec.trust_remote_code,
            **options,
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"`model_name_or_path` must be a folder, a hub id or one of {', '.join(BUNDLED)} that "
            f"{auto_class.__name__} can load, but is {spec.model_name_or_path!r}: {reason}\n"
            "Correct it, or look what is missing there."
        ) from error


def _looks_like_path(name: str) -> bool:
    """Whether a name cannot be a hub id (`model` or `owner/model`)."""
    return Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1
