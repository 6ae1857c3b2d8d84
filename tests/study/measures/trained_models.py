"""Tiny models adapted by each method and moved off their start, as if they had been trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.study.tiny_models import run_spec
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from amplitune.study.data.tasks import load_task
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.settings.config import RunSpec


@dataclass(frozen=True)
class Trained:
    """A model after training, and what its run knows.

    Args:
        model: adapted, trainable weights changed.
        load: loads the pretrained model again.
        tokenizer: the model's.
        rows: the tokenised training split, longer than the validation split.
        spec: the run.
    """

    model: Any
    load: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    rows: list[dict[str, Any]]
    spec: RunSpec


def trained(
    folder: Path, method: str | dict[str, Any], model: str = "llama", scale: float = 0.05, **changes: Any
) -> Trained:
    """Adapt a model of `save_models` and add noise to what is trainable."""
    spec = run_spec(folder, method, model, **changes)
    task = load_task(spec.task)
    tokenizer = load_tokenizer(spec)

    def load() -> PreTrainedModel:
        return load_model(spec, load_config(spec, tokenizer, task.labels))

    torch.manual_seed(0)
    adapted = apply_method(load(), find_method(spec.method.method), task.kind, spec.method.config)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn_like(parameter))
    return Trained(adapted, load, tokenizer, tokenize(task, spec.task, tokenizer)["train"], spec)
