"""Trials of training in two processes: replicas, and parameters in shards."""

import importlib
import importlib.util
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from recipes.capabilities.trial import (
    TOKENS,
    TRAINING,
    Trial,
    UntriedError,
    optimizer_for,
    same,
    wrapped,
)
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.multiprocessing.spawn import spawn

STEPS = 3


def losses_of(model: Any, optimizer: Any, rows: Tensor) -> list[float]:
    """Take steps and give the loss before each."""
    losses = []
    for _ in range(STEPS):
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def replicas(method: str, rows: Tensor) -> list[float]:
    """Train one of two replicas."""
    model: Any = wrapped(method)
    return losses_of(nn.parallel.DistributedDataParallel(model), optimizer_for(method, model), rows)


def flat_shards(method: str, rows: Tensor) -> list[float]:
    """Train a shard of one flat tensor; the optimizer is made while gates are parameters of their own."""
    model: Any = wrapped(method)
    optimizer = optimizer_for(method, model)
    sharded = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
    return losses_of(sharded, optimizer, rows)


def shards(method: str, rows: Tensor) -> list[float]:
    """Train a shard of each tensor."""
    model: Any = wrapped(method)
    for layer in model.get_base_model().model.layers:
        fully_shard(layer)
    fully_shard(model)
    return losses_of(model, optimizer_for(method, model), rows)


def zero(stage: int, method: str, rows: Tensor) -> list[float]:
    """Train under DeepSpeed: gradients and the optimizer's state are split, at stage 3 parameters too."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    deepspeed: Any = importlib.import_module("deepspeed")
    model: Any = wrapped(method)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer_for(method, model),
        config={
            "train_micro_batch_size_per_gpu": 1,
            # No parameter is small enough to be kept whole.
            "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
            # It clips to 1 unless told otherwise.
            "gradient_clipping": 0.0,
        },
    )
    losses = []
    for _ in range(STEPS):
        loss = engine(input_ids=rows, labels=rows).loss
        engine.backward(loss)
        engine.step()
        losses.append(float(loss.detach()))
    return losses


def zero_2(method: str, rows: Tensor) -> list[float]:
    """Train under ZeRO-2."""
    return zero(2, method, rows)


def zero_3(method: str, rows: Tensor) -> list[float]:
    """Train under ZeRO-3."""
    return zero(3, method, rows)


def one_of_two(
    rank: int, method: str, way: Callable[[str, Tensor], list[float]], port: int, folder: str
) -> None:
    """Train in one of two processes on one row each, and save the mean losses."""
    torch.set_num_threads(1)
    os.environ |= {
        **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2"),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    distributed.init_process_group("gloo")
    both = torch.tensor(way(method, TOKENS[rank : rank + 1]))
    distributed.all_reduce(both)
    if rank == 0:
        torch.save(both / 2, f"{folder}/losses.pt")
    distributed.destroy_process_group()


def by_two(way: Callable[[str, Tensor], list[float]], library: str = "torch") -> Callable[[str], None]:
    """Make a trial of two gloo processes: their mean losses are those of one process."""

    def run(method: str) -> None:
        if importlib.util.find_spec(library) is None:
            raise UntriedError(f"needs {library}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            workers = spawn(one_of_two, (method, way, port, folder), nprocs=2, join=False)
            assert workers is not None
            # It returns as soon as one of them has ended.
            ended = any(workers.join(timeout=120) for _ in range(2))
            assert ended, "two processes did not end"
            actual = torch.load(f"{folder}/losses.pt", weights_only=True)
        model = wrapped(method)
        same(actual, torch.tensor(losses_of(model, optimizer_for(method, model), TOKENS)), 1e-5)

    return run


TRIALS = tuple(
    Trial(TRAINING, f"{name}, two processes", run)
    for name, run in (
        ("DDP", by_two(replicas)),
        ("FSDP 1", by_two(flat_shards)),
        ("FSDP2", by_two(shards)),
        ("DeepSpeed ZeRO-2", by_two(zero_2, "deepspeed")),
        ("DeepSpeed ZeRO-3", by_two(zero_3, "deepspeed")),
    )
)
