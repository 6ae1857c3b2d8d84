"""The trial of a run's longest batches before it trains, so that memory runs out at once or not at all."""

import contextlib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import peft
import torch
from transformers import PreTrainedTokenizerBase

from amplitune.errors import TrainingError
from amplitune.study.data.tokens import ensure_pad_token
from amplitune.study.methods.registry import find_method
from amplitune.study.planning.memory_prediction import enable_gradient_checkpointing, quiet
from amplitune.study.running.longest_batch import (
    generation_step,
    longest_batches,
    scoring_step,
    training_step,
)
from amplitune.study.running.memory_tracking import track_memory
from amplitune.study.settings.config import RunSpec

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What errors of torch say that are no `torch.OutOfMemoryError`."""


def probe_longest(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, Sequence[dict[str, Any]]],
    spec: RunSpec,
) -> dict[str, int | None]:
    """Run the longest batch of training, of scoring and of generation once, and measure their memory.

    The model comes back as it was: mode, buffers, gradients, and the random states that its run will draw
    from. Only its device changes, to the one that the trainer would move it to.

    Args:
        model: as `apply_method` left it.
        tokenizer: the model's.
        splits: "train" and "test" (for a trial "validation") as tokenised rows.
        spec: the run, its task's kind known.

    Returns:
        Bytes: `weights_bytes`, `gradients_bytes`, `optimizer_bytes` (AdamW's, computed), `activations_bytes`
        (the most at a time, temporaries among them), `training_peak_bytes` (with the optimizer's state) and
        `evaluation_peak_bytes`. A method that trains nothing has only weights, activations and the last.
        Of a model that several processes will share as shards nothing is probed, because it need not fit into
        one of them: `activations_bytes` is None and the rest left out.

    Raises:
        TrainingError: memory runs out; the message names what to lower.
    """
    if spec.processes_per_run > 1 and spec.distributed == "fsdp":
        return {"activations_bytes": None}
    if torch.cuda.is_available():
        model.to(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))))
    batches = longest_batches(spec, splits, ensure_pad_token(tokenizer))
    method = find_method(spec.method.method)
    checkpointing = spec.training.gradient_checkpointing and method.gradient_checkpointing
    measured: dict[str, int | None] = {}
    with _unchanged(model), quiet():
        if method.trains != "nothing":
            with _explained(spec, "training", len(batches.train), _longest(batches.train)):
                split = _probe_training(model, batches, spec.training.bf16, checkpointing)
            trained = [p.numel() * p.element_size() for p in model.parameters() if p.requires_grad]
            optimizer = sum(2 * size + _STEP_BYTES for size in trained)
            # The update itself: torch makes its quotients parameter by parameter, on a GPU for all at once.
            update = sum(trained) if torch.cuda.is_available() else 2 * max(trained)
            measured = {
                "weights_bytes": split.weights,
                "gradients_bytes": split.gradients,
                "optimizer_bytes": optimizer,
                "activations_bytes": split.activations,
                "training_peak_bytes": optimizer + max(split.peak, split.weights + split.gradients + update),
            }
        model.eval()
        prompts = [{"input_ids": prompt} for prompt in batches.prompts]
        rows = prompts or batches.scored
        with _explained(spec, "evaluation", len(rows), _longest(rows)), track_memory(model) as trace:
            generation_step(model, batches)
            scoring_step(model, batches)
        split = trace.split()
    evaluated = {"weights_bytes": split.weights, "activations_bytes": split.activations}
    return {**evaluated, **measured, "evaluation_peak_bytes": split.peak}


_STEP_BYTES = 4
"""AdamW's count of steps, one number a parameter."""


def _probe_training(model: Any, batches: Any, bf16: bool, checkpointing: bool) -> Any:
    if checkpointing:
        enable_gradient_checkpointing(model)
    try:
        model.train()
        with track_memory(model) as trace:
            training_step(model, batches, bf16)
        return trace.split()
    finally:
        model.zero_grad(set_to_none=True)
        if checkpointing:
            model.gradient_checkpointing_disable()
            if isinstance(model, peft.PeftModel):
                model.disable_input_require_grads()


def _longest(rows: Sequence[Mapping[str, Any]]) -> int:
    return max(len(row["input_ids"]) for row in rows)


@contextlib.contextmanager
def _explained(spec: RunSpec, what: str, size: int, tokens: int) -> Iterator[None]:
    """Turn an exhausted memory into an error that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        key = f"per_device_{'train' if what == 'training' else 'eval'}_batch_size"
        remedies = [f"Lower `training.{key}`"]
        if what == "training":
            remedies[0] += " (and raise `gradient_accumulation_steps` by as much)"
        remedies.append(f"lower `max_length` of task {spec.task.name!r}")
        if what == "training" and not spec.training.gradient_checkpointing:
            if find_method(spec.method.method).gradient_checkpointing:
                remedies.append("set `training.gradient_checkpointing: true`")
        elif what == "evaluation" and spec.task.kind == "generation":
            remedies.append("lower its `max_new_tokens`")
        raise TrainingError(
            f"The longest {what} batch of {spec.label} must fit into memory, but its {size} rows of up to "
            f"{tokens} tokens do not ({(str(error) or type(error).__name__).splitlines()[0][:200]}).\n"
            f"{', or '.join(remedies)}. A smaller `workers` leaves each run more memory."
        ) from error
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Put back what a forward or backward pass may change."""
    training = {module: module.training for module in model.modules()}
    buffers = {buffer: buffer.clone() for buffer in model.buffers()}
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        model.zero_grad(set_to_none=True)
        for module, mode in training.items():
            module.training = mode
        with torch.no_grad():
            for buffer, kept in buffers.items():
                buffer.copy_(kept)
