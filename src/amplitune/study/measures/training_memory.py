"""Memory of training, split into weights, gradients, optimizer and activations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from amplitune.study.running.memory import CUDA_ALLOCATED, read_reserved


@dataclass
class TrainingMemory(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Counts the tensors that a run keeps, once, after its first optimizer step.

    At that moment the gradients are still there and the optimizer has its state. Bytes are those of this
    process: a shard counts as the shard.

    Args:
        weights: bytes of all parameters and buffers, the adapter's included; None before the first step.
        gradients: bytes of their gradients: of trainable parameters alone.
        optimizer: bytes of the optimizer's state, such as Adam's two moments.
    """

    weights: int | None = None
    gradients: int | None = None
    optimizer: int | None = None

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count at the first step, and do nothing at the others."""
        if self.weights is None:
            self.count(kwargs["model"], kwargs["optimizer"])

    def count(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Count the bytes of a model and its optimizer after a step, before gradients are dropped."""
        self.weights = tensor_bytes([*model.parameters(), *model.buffers()])
        self.gradients = tensor_bytes(p.grad for p in model.parameters() if p.grad is not None)
        self.optimizer = tensor_bytes(_tensors(dict(optimizer.state)))

    def state_dict(self) -> dict[str, Any]:
        """The counts, for a checkpoint."""
        return {"weights": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Keep the counts of a checkpoint: they may be of a training that has no step left."""
        self.weights, self.gradients, self.optimizer = (
            state[part] for part in ("weights", "gradients", "optimizer")
        )

    def columns(self, peak: int, kind: str, probed_activations: int | None) -> dict[str, int | None]:
        """The split as columns of the results.

        Args:
            peak: peak memory of training, and
            kind: what kind it is, both as `read_peak` gives them.
            probed_activations: bytes that one training step on the longest batch holds beside weights,
                gradients and optimizer, where they were probed; used where `peak` is no CUDA peak.

        Returns:
            `weights_bytes`, `gradients_bytes`, `optimizer_bytes`, `activations_bytes` (on CUDA whatever else
            the peak holds: activations, temporaries, the batch) and `peak_reserved_bytes` (CUDA alone); None
            where a number is not known.
        """
        activations = probed_activations
        if kind == CUDA_ALLOCATED:
            kept = (self.weights, self.gradients, self.optimizer)
            activations = None if None in kept else peak - sum(part for part in kept if part is not None)
        return {
            "weights_bytes": self.weights,
            "gradients_bytes": self.gradients,
            "optimizer_bytes": self.optimizer,
            "activations_bytes": activations,
            "peak_reserved_bytes": read_reserved(),
        }


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors keep in memory: of each storage once, of a sharded tensor this process's part.

    A view keeps its whole storage: the gradient of a bias may hold that of its matrix too.

    Example:
        >>> weight = torch.zeros(4, 3)
        >>> tensor_bytes([weight, weight[0], torch.zeros(2, dtype=torch.bfloat16)])
        52
    """
    distinct: dict[Any, int] = {}
    for tensor in tensors:
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        storage = local.untyped_storage()
        distinct[local.device, storage.data_ptr()] = storage.nbytes()
    return sum(distinct.values())


def _tensors(state: Any) -> Iterator[Tensor]:
    """The tensors anywhere in an optimizer's state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)
