"""accelerate in one process: accumulation, its wrapper of the optimizer, and its checkpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from tests.adapters.training_stacks.training import (
    STEPS,
    batches,
    build_model,
    build_optimizer,
    sora_step,
    train,
    trained,
)

METHODS = ("qaa", "qaa-shared", "sora", "sora-lr", "control")


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.parametrize("method", METHODS)
def test_accumulation_and_a_checkpoint(method: str, tmp_path: Path) -> None:
    """Two micro-batches a step, and a second model that goes on where the first was saved."""
    whole = build_model(method)
    plain = build_optimizer(whole, method)
    schedule = torch.optim.lr_scheduler.LinearLR(plain, 1.0, 0.5, STEPS)
    expected = []
    for rows in batches():
        expected += train(whole, plain, rows[None], micro_batches=2)
        schedule.step()

    losses: list[float] = []
    for seed, part in ((0, batches()[: STEPS // 2]), (1, batches()[STEPS // 2 :])):
        accelerator = Accelerator(
            cpu=True, gradient_accumulation_steps=2, step_scheduler_with_optimizer=False
        )
        model: Any = build_model(method, seed=seed)
        optimizer = build_optimizer(model, method)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, STEPS)
        model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
        if seed == 1:
            accelerator.load_state(str(tmp_path))
        for rows in part:
            total = 0.0
            for half in rows.chunk(2):
                # All of it is called for each half; accelerate steps at the second.
                with accelerator.accumulate(model):
                    loss = model(input_ids=half, labels=half).loss
                    accelerator.backward(loss)
                    optimizer.step()
                    if accelerator.sync_gradients:
                        schedule.step()
                    optimizer.zero_grad()
                total += float(loss.detach()) / 2
            losses.append(total)
        accelerator.save_state(str(tmp_path))
    assert losses == pytest.approx(expected, rel=1e-5)
    assert sora_step(optimizer) == (STEPS if method.startswith("sora") else None)
    for name, value in trained(whole).items():
        torch.testing.assert_close(trained(model)[name], value, rtol=1e-4, atol=1e-6, msg=name)
