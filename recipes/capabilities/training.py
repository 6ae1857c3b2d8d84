"""Trials of the ways to train in one process: checkpointing, compilation, mixed precision, offloading."""

from collections.abc import Callable

import torch
from recipes.capabilities.trial import (
    TOKENS,
    TRAINING,
    Trial,
    logits,
    same,
    trained,
    wrapped,
)


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


TRIALS = tuple(
    Trial(TRAINING, name, run)
    for name, run in (
        ("gradient checkpointing, not reentrant", checkpointing(False)),
        ("gradient checkpointing, reentrant", checkpointing(True)),
        ("`torch.compile(fullgraph=True)`, forward and backward", compiled),
        ("float16 autocast with `GradScaler`", autocast),
        ("saved activations offloaded", offloading),
    )
)
