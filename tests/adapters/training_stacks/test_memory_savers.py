"""Activations recomputed or moved away give the same gradients, in a loop and in transformers' Trainer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.adapters.training_stacks.training import (
    VOCABULARY,
    batches,
    build_model,
    build_optimizer,
    sora_step,
    trained,
)
from torch import Tensor
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from transformers import Trainer, TrainingArguments

METHODS = ("qaa", "qaa-shared", "sora", "control")


def gradients(
    model: Any, context: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> dict[str, Tensor]:
    model.zero_grad()
    rows = batches()[0]
    with context():
        loss = model(input_ids=rows, labels=rows).loss
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS)
def test_offloaded_activations_give_the_same_gradients(method: str) -> None:
    model = build_model(method)
    expected = gradients(model)
    assert len(expected) == len(trained(model))
    packed: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        packed.append(tensor)
        # A copy elsewhere, as from a GPU.
        return tensor.detach().clone()

    offloads: list[Callable[[], Any]] = [
        save_on_cpu,
        lambda: saved_tensors_hooks(pack, lambda tensor: tensor.clone()),
    ]
    for offload in offloads:
        found = gradients(model, offload)
        assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    assert len(packed) > 10


def trainer(method: str, folder: Path, **arguments: Any) -> Any:
    model = build_model(method, init_weights=True)
    rows = torch.randint(0, VOCABULARY, (24, 6), generator=torch.Generator().manual_seed(5)).tolist()
    data: Any = [{"input_ids": row, "labels": row} for row in rows]
    return Trainer(
        model,
        TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_steps=4,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
            seed=3,
            **arguments,
        ),
        train_dataset=data,
        optimizers=(build_optimizer(model, method), None),
    )


@pytest.mark.parametrize("method", ["qaa", "qaa-shared", "sora"])
def test_a_trainer_that_recomputes_activations(method: str, tmp_path: Path) -> None:
    runs = [trainer(method, tmp_path)]
    for reentrant in (True, False):
        keywords = {"use_reentrant": reentrant}
        runs.append(
            trainer(method, tmp_path, gradient_checkpointing=True, gradient_checkpointing_kwargs=keywords)
        )
        runs[-1].model.enable_input_require_grads()
    for run in runs:
        run.train()
        assert sora_step(run.optimizer) == (4 if method == "sora" else None)
    expected = trained(runs[0].model)
    losses = [[event["loss"] for event in run.state.log_history if "loss" in event] for run in runs]
    for run, found in zip(runs[1:], losses[1:], strict=True):
        assert found == pytest.approx(losses[0], rel=1e-5)
        for name, value in trained(run.model).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)
