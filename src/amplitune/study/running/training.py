"""Training one model by one method, through trl's SFTTrainer or transformers' Trainer."""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
from datasets import Dataset
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from amplitune.errors import TrainingError
from amplitune.study.methods.registry import create_optimizer, find_method
from amplitune.study.running.checkpoints import Checkpoint, CheckpointCallback, Kept
from amplitune.study.running.distributed import group
from amplitune.study.running.distributed.arguments import distributed_arguments
from amplitune.study.running.trainers import ResumableTrainer
from amplitune.study.settings.config import RunSpec

WARM_UP_STEPS = 3
"""Steps left out of the step time: they pay for caches and allocations."""


@dataclass
class StepClock(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Times optimizer steps without evaluation and reports what the trainer logs.

    Args:
        record: takes each event of metrics.jsonl.
        progress: takes (steps done, steps in all).
    """

    record: Callable[[Mapping[str, Any]], None]
    progress: Callable[[int, int], None]
    step_seconds: list[float] = field(default_factory=list)
    _began: float = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock of a step."""
        self._began = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.step_seconds.append(time.perf_counter() - self._began)
        self.progress(state.global_step, state.max_steps)
        if state.global_step == state.max_steps:
            # Both curves reach the last step, whatever the intervals.
            control.should_log = control.should_evaluate = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Turn the trainer's log into an event."""
        logs = logs or {}
        common = {
            "step": state.global_step,
            "tokens": int(state.num_input_tokens_seen),
            "seconds": self.seconds,
        }
        for key, what in (("loss", "training"), ("eval_loss", "validation")):
            if not math.isfinite(logs.get(key, 0.0)):
                raise TrainingError(
                    f"The {what} loss must be finite, but is {logs[key]} at step {state.global_step}. "
                    "Lower `learning_rate` or `max_grad_norm`."
                )
        if "eval_loss" in logs:
            self.record({"event": "eval", **common, "eval_loss": logs["eval_loss"]})
        elif "loss" in logs:
            loss: dict[str, Any] = {
                key: logs[key] for key in ("loss", "learning_rate", "grad_norm") if key in logs
            }
            self.record({"event": "train", **common, **loss})

    @property
    def seconds(self) -> float:
        """Time spent in optimizer steps so far."""
        return sum(self.step_seconds)

    def state_dict(self) -> dict[str, Any]:
        """The times so far, for a checkpoint."""
        return {"step_seconds": self.step_seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: the times of a resumed run are those of its parts together."""
        self.step_seconds[:] = state["step_seconds"]

    @property
    def median_step(self) -> float | None:
        """Median seconds of a step after warm-up; None where there are too few steps."""
        counted = self.step_seconds[WARM_UP_STEPS:]
        return statistics.median(counted) if counted else None


def train(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, list[dict[str, Any]]],
    spec: RunSpec,
    scratch: Path,
    clock: StepClock,
    kept: Mapping[str, Kept] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Any:
    """Train the model in place.

    Args:
        model: as `apply_method` left it.
        tokenizer: the model's.
        splits: "train" and "validation" as tokenised rows.
        spec: the run.
        scratch: a folder for the trainer's checkpoints.
        clock: times the steps and takes the losses.
        kept: what else counts through the training, by name; told of it where it is a callback.
        checkpoint: where to go on from; None to begin.

    Returns:
        The trainer, after training.
    """
    kept = {"clock": clock, **(kept or {})}
    trainer = build_trainer(model, tokenizer, splits, spec, scratch)
    for part in kept.values():
        if isinstance(part, TrainerCallback):
            trainer.add_callback(part)
    trainer.add_callback(CheckpointCallback(spec.training.save_steps, kept))
    if checkpoint is None:
        trainer.train()
        return trainer
    for name, part in kept.items():
        part.load_state_dict(checkpoint.kept[name])
    if checkpoint.step < spec.training.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint.path))
    else:
        # The Trainer would do one step more.
        trainer._load_from_checkpoint(str(checkpoint.path))
        trainer.state = TrainerState.load_from_json(str(checkpoint.path / TRAINER_STATE_NAME))
    return trainer


def build_trainer(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, list[dict[str, Any]]],
    spec: RunSpec,
    scratch: Path,
) -> Trainer:
    """The trainer of a run; the same data order for each method, decided by the seed alone."""
    settings = spec.training
    arguments: dict[str, Any] = {
        "output_dir": str(scratch),
        "max_steps": settings.max_steps,
        "learning_rate": settings.learning_rate,
        "per_device_train_batch_size": settings.per_device_train_batch_size,
        "per_device_eval_batch_size": settings.per_device_eval_batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "logging_steps": settings.logging_steps,
        "eval_strategy": "steps",
        "eval_steps": settings.eval_steps or math.ceil(settings.max_steps / 10),
        # CheckpointCallback decides.
        "save_strategy": "no",
        "report_to": "none",
        # A NaN must be seen, not replaced by the mean of the finite losses around it.
        "logging_nan_inf_filter": False,
        "seed": spec.seed,
        "data_seed": spec.seed,
        "bf16": settings.bf16,
        "gradient_checkpointing": settings.gradient_checkpointing
        and find_method(spec.method.method).gradient_checkpointing,
        "include_num_input_tokens_seen": "non_padding",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    adapter = model.peft_config[model.active_adapter] if isinstance(model, peft.PeftModel) else None

    def make_optimizer(of: torch.nn.Module) -> torch.optim.Optimizer:
        return create_optimizer(of, adapter, settings.learning_rate or 0.0, settings.weight_decay)

    trainer_class: Any = ResumableTrainer
    if together := group.size() > 1:
        from amplitune.study.running.distributed.trainer import DistributedTrainer

        trainer_class = DistributedTrainer
        arguments |= distributed_arguments(spec, model)
    common: dict[str, Any] = {
        "model": model,
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(splits["train"]),
        "eval_dataset": Dataset.from_list(splits["validation"]),
        "optimizers": (None if together else make_optimizer(model), None),
    }
    tokenizer.padding_side = "right"
    if spec.task.kind == "generation":
        # trl takes a second to import, which classifiers need not wait for.
        from huggingface_hub import constants
        from trl import SFTConfig, SFTTrainer

        # trl reports every training run to the hub otherwise.
        constants.HF_HUB_DISABLE_TELEMETRY = True

        class Generator(trainer_class, SFTTrainer):  # type: ignore[misc, unused-ignore]
            """trl's trainer with checkpoints of the trained parameters."""

        # The rows are tokenised and masked already, so nothing is left for trl to truncate.
        trainer = Generator(args=SFTConfig(**arguments, completion_only_loss=True, max_length=None), **common)
    else:
        trainer = trainer_class(
            args=TrainingArguments(**arguments), data_collator=DataCollatorWithPadding(tokenizer), **common
        )
        # Classifiers average over their batch, whatever number of items the Trainer hands them.
        trainer.model_accepts_loss_kwargs = False
    trainer.make_optimizer = make_optimizer
    return trainer
