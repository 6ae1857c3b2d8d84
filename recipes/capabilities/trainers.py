"""Trials of libraries that own the training loop: accelerate, transformers' Trainer, trl's trainers."""

import math
import tempfile
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset
from recipes.capabilities.trial import (
    TOKENS,
    TRAINING,
    Trial,
    config,
    llama,
    logits,
    optimizer_for,
    same,
    wrapped,
)
from tests.study.tiny_models import PAIRS, tokenizer
from transformers import Trainer, TrainingArguments
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from amplitune import create_sora_optimizer

COMMON: dict[str, Any] = {
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.02,
    "lr_scheduler_type": "constant",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


def accelerate_state(method: str) -> None:
    """Save the state in the middle and load it into another model: the same weights as without the stop."""

    def end(folder: str, parts: tuple[int, ...]) -> torch.Tensor:
        model: Any = None
        for number, steps in enumerate(parts):
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()
            accelerator = Accelerator(cpu=True)
            # Of other weights, so that what is loaded counts.
            model = wrapped(method, seed=1 + number).train()
            optimizer = optimizer_for(method, model, torch.optim.AdamW)
            model, optimizer = accelerator.prepare(model, optimizer)
            if number:
                accelerator.load_state(folder)
            for _ in range(steps):
                accelerator.backward(model(input_ids=TOKENS, labels=TOKENS).loss)
                optimizer.step()
                optimizer.zero_grad()
            accelerator.save_state(folder)
        return logits(model.eval())

    try:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            same(end(one, (2, 2)), end(two, (4,)), 1e-6)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def trainer(method: str) -> None:
    """Accumulate in transformers' Trainer, stop, resume: the same weights as without the stop."""
    rows: Any = [{"input_ids": row, "labels": row} for row in torch.cat([TOKENS] * 4)]

    def end(folder: str, steps: tuple[int, ...]) -> torch.Tensor:
        model: Any = None
        for number in steps:
            model = wrapped(method)
            arguments = TrainingArguments(
                folder, max_steps=number, save_steps=2, per_device_train_batch_size=1, **COMMON
            )
            optimizer = optimizer_for(method, model, torch.optim.AdamW)
            running = Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, None))
            running.train(resume_from_checkpoint=number != steps[0])
        return logits(model.eval())

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        same(end(one, (2, 4)), end(two, (4,)), 1e-6)


def supervised(method: str) -> None:
    """Let SFTTrainer put the adapter into the model, stop, resume: the same weights as without the stop."""
    words = tokenizer()
    optimizer: dict[str, Any] = {}
    if method == "SoRA":
        optimizer["optimizer_cls_and_kwargs"] = (lambda: create_sora_optimizer, {"lr": 0.02})

    def end(folder: str, steps: tuple[int, ...]) -> torch.Tensor:
        model: Any = None
        for number in steps:
            base = llama(vocab_size=len(words), max_position_embeddings=64)
            torch.manual_seed(5)
            running: Any = SFTTrainer(
                base,
                SFTConfig(folder, max_steps=number, save_steps=2, max_length=None, bf16=False, **COMMON),
                train_dataset=Dataset.from_list(PAIRS),
                processing_class=words,
                peft_config=config(method, task_type="CAUSAL_LM"),
                **optimizer,
            )
            before = logits(running.model)
            running.train(resume_from_checkpoint=number != steps[0])
            model = running.model
            assert not torch.allclose(logits(model), before), "nothing was trained"
        return logits(model.eval())

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        same(end(one, (2, 4)), end(two, (4,)), 1e-5)


def preferences(method: str) -> None:
    """Start DPOTrainer with a fresh adapter, which prefers nothing, and train it and nothing else."""
    words = tokenizer()
    torch.manual_seed(5)
    fresh = {"init_lora_weights" if method == "LoRA" else "init_weights": True}
    model: Any = wrapped(method, base=llama(vocab_size=len(words), max_position_embeddings=64), **fresh)
    optimizer = optimizer_for(method, model, torch.optim.AdamW)
    worse = [row["completion"] for row in PAIRS[1:] + PAIRS[:1]]
    rows = [
        {"prompt": row["prompt"], "chosen": row["completion"], "rejected": other}
        for row, other in zip(PAIRS, worse, strict=True)
    ]
    start = {name: value.clone() for name, value in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        running = DPOTrainer(
            model,
            args=DPOConfig(folder, max_steps=4, save_strategy="no", logging_steps=1, bf16=False, **COMMON),
            train_dataset=Dataset.from_list(rows),
            processing_class=words,
            optimizers=(optimizer, None),
        )
        running.train()
    losses = [event["loss"] for event in running.state.log_history if "loss" in event]
    assert math.isclose(losses[0], math.log(2), rel_tol=1e-4), losses
    # Each step is on rows of its own, so a later loss is below the first one's only in the long run.
    assert not math.isclose(losses[-1], math.log(2), rel_tol=1e-4), losses
    after = model.state_dict()
    changed = {name for name, value in start.items() if not torch.equal(after[name], value)}
    assert changed == {name for name, value in model.named_parameters() if value.requires_grad}


TRIALS = tuple(
    Trial(TRAINING, name, run)
    for name, run in (
        ("accelerate's `save_state`, `load_state`", accelerate_state),
        ("`Trainer`: accumulation, resume from a checkpoint", trainer),
        ("trl's `SFTTrainer`: accumulation, resume from a checkpoint", supervised),
        ("trl's `DPOTrainer`, from a fresh adapter", preferences),
    )
)
