"""The time that a run will take, from a few steps and tokens of a model with random weights."""

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import peft
import torch

from amplitune.study.data.chat import render
from amplitune.study.methods.registry import apply_method, create_optimizer, find_method
from amplitune.study.planning.memory_prediction import enable_gradient_checkpointing, quiet
from amplitune.study.planning.preflight import CheckedTask
from amplitune.study.running.generation import generate
from amplitune.study.running.longest_batch import LongestBatches, longest_batches, scoring_step, training_step
from amplitune.study.running.models import AUTO_CLASSES, load_config
from amplitune.study.settings.config import RunSpec

STEPS = 3
"""Timed after one that warms up."""

TOKENS = 8
"""Generated for each prompt; the time of a token is the slope between one and these."""


@dataclass(frozen=True)
class RunTime:
    """What a run's parts take, in seconds, on the device where it was probed.

    Args:
        start: until the process has its libraries and the model its shape; reading weights comes on top.
        step: an optimizer step, all its forward passes included; 0 for a method that trains nothing.
        loss: the validation loss once.
        test: generation for the test split with every answer as long as it may be, or its classification,
            and the perplexity of its answers. An answer that ends earlier takes less.
        tuning: the same for the validation split, as trials do.
    """

    start: float
    step: float
    loss: float
    test: float
    tuning: float

    def run(self, steps: int, evaluations: int, trial: bool = False) -> float:
        """Seconds of a whole run, or a trial.

        Args:
            steps: optimizer steps.
            evaluations: validation losses on the way.
            trial: evaluate on the validation split.
        """
        return (
            self.start + steps * self.step + evaluations * self.loss + (self.tuning if trial else self.test)
        )


def probe_time(spec: RunSpec, checked: CheckedTask) -> RunTime:
    """Time the parts of a run on typical batches; the model has the right shapes and random weights.

    Args:
        spec: the run.
        checked: its task, with the tokenised rows.

    Returns:
        The times; on a machine that does other work beside, they are as much too long.
    """
    threads = torch.get_num_threads()
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    try:
        with quiet(), torch.random.fork_rng():
            return _probe(spec, checked)
    finally:
        torch.set_num_threads(threads)


def _probe(spec: RunSpec, checked: CheckedTask) -> RunTime:
    began = time.perf_counter()
    model = _random_model(spec, checked)
    start = _process_seconds() + time.perf_counter() - began
    method = find_method(spec.method.method)
    step = 0.0
    if method.trains != "nothing":
        if spec.training.gradient_checkpointing and method.gradient_checkpointing:
            enable_gradient_checkpointing(model)
        step = _step_seconds(model, spec, checked)
    model.eval()
    size = spec.training.per_device_eval_batch_size
    batch = _typical(spec, checked, size, "test")
    rows = {split: len(checked.rows[split]) for split in ("validation", "test")}
    passes = {split: -(-count // size) for split, count in rows.items()}
    forward = _seconds(model, lambda: scoring_step(model, batch))
    evaluated = forward if batch.kind == "classification" or batch.perplexity else 0.0
    if batch.kind == "generation":
        evaluated += _generation_seconds(model, spec, checked)
    trained = method.trains != "nothing"
    return RunTime(
        start,
        step,
        passes["validation"] * forward * trained,
        passes["test"] * evaluated,
        passes["validation"] * evaluated * trained,
    )


def _random_model(spec: RunSpec, checked: CheckedTask) -> Any:
    kind = checked.task.kind
    config = load_config(spec, checked.tokenizer, checked.task.labels)
    dtype = getattr(config, "dtype", None) if spec.dtype == "auto" else getattr(torch, spec.dtype)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with device:
        model = AUTO_CLASSES[kind].from_config(
            config, dtype=dtype or torch.float32, trust_remote_code=spec.trust_remote_code
        )
    return apply_method(model, find_method(spec.method.method), kind, spec.method.config).to(device)


def _step_seconds(model: Any, spec: RunSpec, checked: CheckedTask) -> float:
    settings = spec.training
    batch = _typical(spec, checked, settings.per_device_train_batch_size, "train")
    adapter = model.peft_config[model.active_adapter] if isinstance(model, peft.PeftModel) else None
    optimizer = create_optimizer(model, adapter, 0.0, settings.weight_decay)
    model.train()

    def step() -> None:
        for _ in range(settings.gradient_accumulation_steps):
            training_step(model, batch, settings.bf16)
        optimizer.step()
        optimizer.zero_grad()

    return _seconds(model, step)


def _generation_seconds(model: Any, spec: RunSpec, checked: CheckedTask) -> float:
    """Seconds of one batch of the test split, to the last token that may be generated."""
    size = spec.training.per_device_eval_batch_size
    drawn, turn_end = render(_draw(checked.task.test, size), spec.task, checked.tokenizer)
    longest = spec.task.max_new_tokens
    few = min(TOKENS, longest)

    def seconds(tokens: int) -> float:
        prompts = [example.prompt for example in drawn]
        return generate(
            model,
            checked.tokenizer,
            prompts,
            max_new_tokens=tokens,
            batch_size=size,
            task=spec.task.name,
            turn_end=turn_end,
        ).seconds

    seconds(1)
    first = seconds(1)
    if few == 1:
        return first
    return first + (longest - 1) * max(seconds(few) - first, 0.0) / (few - 1)


def _typical(spec: RunSpec, checked: CheckedTask, size: int, split: str) -> LongestBatches:
    """A batch drawn as the trainer draws it, evenly from all rows."""
    drawn = {name: _draw(rows, size) for name, rows in checked.rows.items()}
    pad = checked.tokenizer.pad_token_id
    return longest_batches(spec, drawn, 0 if pad is None else int(pad))


def _draw(rows: Any, size: int) -> list[Any]:
    return random.Random(0).sample(list(rows), min(size, len(rows)))


def _seconds(model: Any, part: Callable[[], object]) -> float:
    """The median of a few times, after one that is not timed."""
    times = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        part()
        if next(model.parameters()).is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


@cache
def _process_seconds() -> float:
    """How long a process of a run takes until its libraries are there; measured once."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import amplitune.study.running.run"], check=True, capture_output=True
    )
    return time.perf_counter() - began
