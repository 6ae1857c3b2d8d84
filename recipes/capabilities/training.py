"""Trials of the ways to train: checkpointing, compilation, mixed precision, several processes, trainers."""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from recipes.capabilities.trial import (
    TOKENS,
    Trial,
    logits,
    same,
    trained,
    wrapped,
)
from torch import nn
from torch.multiprocessing.spawn import spawn

GROUP = "Training"


def checkpointing(reentrant: bool) -> Callable[[str], None]:
    """Make a trial of gradient checkpointing: the gradients are those without it."""

    def run(method: str) -> None:
        def gradients(checkpointed: bool) -> list[torch.Tensor]:
            model = wrapped(method)
            if checkpointed:
                model.enable_input_require_grads()
                model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.train()(input_ids=TOKENS, labels=TOKENS).loss.backward()
            return [p.grad for p in model.parameters() if p.grad is not None]

        for actual, expected in zip(gradients(True), gradients(False), strict=True):
            same(actual, expected)

    return run


def compiled(method: str) -> None:
    """Compile forward and backward without a graph break."""
    model = wrapped(method)
    expected = logits(model)
    torch.compiler.reset()
    graph = torch.compile(model, fullgraph=True, backend="aot_eager")
    loss = graph(input_ids=TOKENS, labels=TOKENS)
    loss.loss.backward()
    same(loss.logits.detach(), expected)


def autocast(method: str) -> None:
    """Train under float16 autocast with a gradient scaler."""
    model = wrapped(method).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    losses = []
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = model(input_ids=TOKENS, labels=TOKENS).loss
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0], losses


def offloading(method: str) -> None:
    """Keep activations outside the device."""
    model = wrapped(method)
    with torch.autograd.graph.save_on_cpu():
        trained(model)


def one_of_two(rank: int, method: str, sharded: bool, port: int, folder: str) -> None:
    """Train in one of two processes on one row each, and save the losses."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    model: Any = wrapped(method)
    if sharded:
        from torch.distributed.fsdp import fully_shard

        for layer in model.get_base_model().model.layers:
            fully_shard(layer)
        fully_shard(model)
        running = model
    else:
        running = nn.parallel.DistributedDataParallel(model)
    row = TOKENS[rank : rank + 1]
    losses = step_losses(running, row)
    both = torch.tensor(losses)
    torch.distributed.all_reduce(both)
    if rank == 0:
        torch.save(both / 2, f"{folder}/losses.pt")
    torch.distributed.destroy_process_group()


def step_losses(model: Any, rows: torch.Tensor) -> list[float]:
    """Take three steps of SGD and give the loss before each."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for _ in range(3):
        loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def two_processes(sharded: bool) -> Callable[[str], None]:
    """Make a trial of two gloo processes: their mean losses are those of one process."""

    def run(method: str) -> None:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            workers = spawn(one_of_two, (method, sharded, port, folder), nprocs=2, join=False)
            assert workers is not None
            # It returns as soon as one of them has ended.
            ended = any(workers.join(timeout=120) for _ in range(2))
            assert ended, "two processes did not end"
            actual = torch.load(f"{folder}/losses.pt", weights_only=True)
        same(actual, torch.tensor(step_losses(wrapped(method), TOKENS)), 1e-5)

    return run


def accumulation_and_resume(method: str) -> None:
    """Accumulate in transformers' Trainer, stop, resume: the same weights as without the stop."""
    from transformers import Trainer, TrainingArguments

    rows = [{"input_ids": row, "labels": row} for row in torch.cat([TOKENS] * 4)]

    def end(folder: str, steps: tuple[int, ...]) -> torch.Tensor:
        model: Any = None
        for number in steps:
            model = wrapped(method)
            arguments = TrainingArguments(
                folder,
                max_steps=number,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=2,
                save_steps=2,
                lr_scheduler_type="constant",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            )
            Trainer(model, arguments, train_dataset=rows).train(resume_from_checkpoint=number != steps[0])
        return logits(model.eval())

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        same(end(one, (2, 4)), end(two, (4,)), 1e-6)


TRIALS = tuple(
    Trial(GROUP, name, run)
    for name, run in (
        ("gradient checkpointing, not reentrant", checkpointing(False)),
        ("gradient checkpointing, reentrant", checkpointing(True)),
        ("`torch.compile(fullgraph=True)`, forward and backward", compiled),
        ("float16 autocast with `GradScaler`", autocast),
        ("saved activations offloaded", offloading),
        ("DDP, two processes", two_processes(False)),
        ("FSDP2, two processes", two_processes(True)),
        ("`Trainer`: accumulation, resume from a checkpoint", accumulation_and_resume),
    )
)
