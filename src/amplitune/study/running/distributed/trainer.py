"""The trainer of a run that several processes train together."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from amplitune.errors import TrainingError
from amplitune.study.running.distributed import group
from amplitune.study.running.distributed.shards import load_whole_state, whole, whole_state
from amplitune.study.running.trainers import ResumableTrainer, trained, write_weights


class DistributedTrainer(ResumableTrainer):
    """Trains with accelerate, by replicas (DDP) or by shards (FSDP2).

    Its checkpoints are those of a single process: whole tensors, written by the first process. Its validation
    loss is that of a single process with the same `per_device_eval_batch_size`.
    """

    make_optimizer: Callable[[Any], torch.optim.Optimizer]
    """Makes the optimizer of a model's parameters, which FSDP wants to be made by the trainer."""

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the optimizer."""
        if self.optimizer is None:
            self.optimizer = self.make_optimizer(model or self.model)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator; for shards on a CPU too, where accelerate would go on with replicas."""
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        if not self.args.fsdp or self.is_fsdp_enabled:
            return
        # accelerate 1.15 takes its FSDP plugin up for devices other than the CPU alone. torch shards on any.
        plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
        if state._mixed_precision != "no":
            plugin.set_mixed_precision(state._mixed_precision)
        state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, plugin
        self.is_fsdp_enabled = True

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._prepare_for_training(*args, **kwargs)
        except (TypeError, ValueError, KeyError, AssertionError, NotImplementedError) as error:
            if not self.is_fsdp_enabled:
                raise
            raise TrainingError(
                f"The model must be one that FSDP can split into shards, but it cannot: {error}\n"
                "Set distributed: ddp."
            ) from error

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Compute the validation loss: each batch of a single process goes to one of the processes."""
        model: Any = self.model
        model.eval()
        summed = examples = 0.0
        for inputs, weight in self._evaluation_batches():
            loss, _, _ = self.prediction_step(model, inputs, prediction_loss_only=True)
            assert loss is not None
            summed += float(loss) * weight
            examples += weight
        summed, examples = group.total([summed, examples])
        metrics = {f"{metric_key_prefix}_loss": summed / examples}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _evaluation_batches(self) -> Iterator[tuple[dict[str, Tensor], int]]:
        """The process's batches, and how many examples each counts for; as many as every other has."""
        rows = self._remove_unused_columns(self.eval_dataset, description="evaluation")
        per_batch = self.args.per_device_eval_batch_size
        batches = [
            range(start, min(start + per_batch, len(rows))) for start in range(0, len(rows), per_batch)
        ]
        for first in range(0, len(batches), group.size()):
            mine = first + group.rank()
            # A process without a batch of its own goes along for what the others need of it, its shard.
            batch = batches[mine] if mine < len(batches) else batches[0]
            yield self.data_collator([rows[index] for index in batch]), len(batch) * (mine < len(batches))

    def training_values(self) -> dict[str, Tensor]:
        """Everything that training changes, whole; every process asks for it, the first one gets it."""
        keep = self.args.should_save
        return {name: whole(value, keep) for name, value in trained(self.model).items()}

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the parameters that are trained, and the buffers."""
        values = self.training_values()
        if self.args.should_save:
            write_weights(Path(output_dir or str(self.args.output_dir)), values)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        state = whole_state(self.optimizer.state_dict(), self.args.should_save)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.is_fsdp_enabled or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        state = torch.load(Path(checkpoint) / OPTIMIZER_NAME, map_location="cpu", weights_only=True)
        load_whole_state(self.optimizer, state)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))
