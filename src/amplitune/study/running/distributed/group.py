"""The processes that train one run together, as each of them sees the others; one alone is a group too."""

from datetime import timedelta
from typing import Any

import torch
from torch import distributed

TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others where nobody has failed, such as while one of them loads slowly."""

_left: list[Any] = []
"""Groups that were left."""


def join(store: Any, rank: int, size: int) -> None:
    """Enter the group; every process does.

    Args:
        store: where the processes find each other.
        rank: this one's number, from 0.
        size: how many there are.
    """
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
        # Numbers that are counted here travel through gloo.
        backend = "cuda:nccl,cpu:gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)


def leave() -> None:
    """Leave the group; every process does, at the same point."""
    if distributed.is_initialized():
        wait()
        # gloo's destructor waits for threads that may wait for the interpreter: it must never run.
        _left.append(distributed.group.WORLD)
        distributed.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The process's number, from 0; the first one writes what the run leaves."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait() -> None:
    """Wait until every process is here."""
    total([])


def largest(value: int) -> int:
    """The largest of the processes' values."""
    if size() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.int64)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return int(tensor)


def total(values: list[float]) -> list[float]:
    """The sums of the processes' values, each in float64."""
    if size() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(tensor)
    sums: list[float] = tensor.tolist()
    return sums


def agreed(decision: bool) -> bool:
    """What the first process has decided."""
    if size() == 1:
        return decision
    tensor = torch.tensor(int(decision))
    distributed.broadcast(tensor, src=0)
    return bool(tensor)
