"""The model that several processes have trained, as one of them goes on with it alone."""

from collections.abc import Callable
from typing import Any

import torch

from amplitune.study.running.distributed import group
from amplitune.study.running.distributed.trainer import DistributedTrainer
from amplitune.study.running.trainers import trained


def trained_model(trainer: DistributedTrainer, model: Any, again: Callable[[], Any]) -> Any:
    """Gather what was trained, and leave the group; every process does at the same point.

    Args:
        trainer: after training.
        model: the model that it has trained, this process's shard of it under FSDP.
        again: makes the model as it was before the training.

    Returns:
        For the first process the model with its trained weights, on the device of the training, as if it had
        been trained there alone; None for the others.
    """
    first, device = group.rank() == 0, trainer.args.device
    sharded = trainer.is_fsdp_enabled
    values = trainer.training_values() if sharded else {}
    group.leave()
    if not first:
        return None
    if not sharded:
        return model
    plain = again().to(device)
    current = trained(plain)
    assert current.keys() == values.keys()
    with torch.no_grad():
        for name, value in current.items():
            value.copy_(values[name])
    return plain
