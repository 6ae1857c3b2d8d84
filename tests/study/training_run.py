"""A run of the study runner taken apart for tests: its model, trainer, batches and events."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.study.tiny_models import run_spec

from amplitune.study.data.tasks import load_task
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.running.training import StepClock, build_trainer

METHODS = ("full", "lora", "prefix", "sora", "qaa")


class Run:
    """A run's model and trainer, built as `run` builds them, with the batches and events of its training."""

    def __init__(self, tiny: Path, scratch: Path, method: Any, model: str = "llama", **changes: Any) -> None:
        self.spec = run_spec(tiny, method, model, **changes)
        task = load_task(self.spec.task)
        self.tokenizer = load_tokenizer(self.spec)
        transformers.set_seed(self.spec.seed)
        base = load_model(self.spec, load_config(self.spec, self.tokenizer, task.labels))
        self.model: Any = apply_method(
            base, find_method(self.spec.method.method), task.kind, self.spec.method.config
        )
        self.splits = tokenize(task, self.spec.task, self.tokenizer)
        self.trainer: Any = build_trainer(self.model, self.tokenizer, self.splits, self.spec, scratch)
        self.events: list[Mapping[str, Any]] = []
        self.steps: list[tuple[int, int]] = []
        self.clock = StepClock(self.events.append, lambda done, total: self.steps.append((done, total)))
        self.trainer.add_callback(self.clock)
        self.batches: list[dict[str, torch.Tensor]] = []
        compute = self.trainer.compute_loss

        def recorded(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if model.training:
                self.batches.append({key: value.clone() for key, value in inputs.items()})
            return compute(model, inputs, *args, **kwargs)

        vars(self.trainer)["compute_loss"] = recorded

    def state(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
