"""SoRACallback asks, before the first step, whether the optimizer that trains shrinks the adapter's gates."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from tests.adapters.conftest import VOCABULARY, Architecture, MakeConfig, Wrap
from tests.adapters.sora.test_prune import keep_ranks
from torch.optim import SGD, Optimizer
from transformers import Trainer, TrainerCallback, TrainingArguments

from amplitune import SoRACallback, create_sora_optimizer
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

Train = Callable[..., Any]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Give a Trainer of two steps; it makes the optimizer itself, of what it is given for that."""

    def make(model: Any, callbacks: list[Any], **given: Any) -> Any:
        generator = torch.Generator().manual_seed(5)
        rows = torch.randint(0, VOCABULARY, (4, 6), generator=generator).tolist()
        arguments = TrainingArguments(
            str(tmp_path),
            per_device_train_batch_size=2,
            max_steps=2,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
        )
        data: Any = [{"input_ids": row, "labels": row} for row in rows]
        return Trainer(model, arguments, train_dataset=data, callbacks=callbacks, **given)

    return make


def trainable(model: Any) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gates(model: Any) -> list[torch.nn.Parameter]:
    return [module.sora_gate["default"] for module in model.modules() if isinstance(module, SoRALayer)]


def test_a_trainer_that_was_given_none_is_refused_before_its_first_step(
    llama: Architecture, wrap: Wrap, train: Train
) -> None:
    model = wrap("sora", llama)
    before = [parameter.detach().clone() for parameter in trainable(model)]
    trainer = train(model, [SoRACallback()])
    with pytest.raises(
        ConfigError,
        match=r"one of `create_sora_optimizer` .* but is AdamW .*"
        r"optimizer_cls_and_kwargs=\(lambda: create_sora_optimizer, .*check_optimizer=False",
    ):
        trainer.train()
    assert trainer.state.global_step == 0
    assert all(torch.equal(a, b) for a, b in zip(trainable(model), before, strict=True))


@pytest.mark.parametrize("made", ["before", "by the trainer"])
def test_soras_own_passes(llama: Architecture, wrap: Wrap, train: Train, made: str) -> None:
    model, callback = wrap("sora", llama, sparse_lambda=0.1), SoRACallback()
    given: dict[str, Any] = {"optimizer_cls_and_kwargs": (lambda: create_sora_optimizer, {"lr": 1e-2})}
    if made == "before":
        given = {"optimizers": (create_sora_optimizer(model, lr=1e-2), None)}
    trainer = train(model, [callback], **given)
    trainer.train()
    assert isinstance(trainer.optimizer, AcceleratedOptimizer), "the check has to look into it"
    assert [row["sora/lambda"] for row in callback.path] == [0.1] * 3


def test_an_optimizer_of_another_adapters_gates_is_refused(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig, train: Train
) -> None:
    model: Any = wrap("sora", llama)
    optimizer = create_sora_optimizer(model, lr=1e-2)
    model.add_adapter("second", make_config("sora", llama))
    model.set_adapter("second")
    with pytest.raises(ConfigError, match="for the gates of adapter 'second' to shrink, but is AdamW"):
        train(model, [SoRACallback("second")], optimizers=(optimizer, None)).train()
    # Those of the first are frozen now.
    train(model, [SoRACallback()], optimizers=(SGD(trainable(model), lr=0.1), None)).train()


def test_an_optimizer_made_of_its_groups_is_refused(llama: Architecture, wrap: Wrap, train: Train) -> None:
    """As accelerate makes DeepSpeed's: lambda is in the groups, and no step uses it."""
    model = wrap("sora", llama)
    taken: Optimizer = SGD(create_sora_optimizer(model, lr=1e-2).param_groups, lr=1e-2)
    trainer = train(model, [SoRACallback()], optimizers=(taken, None))
    with pytest.raises(
        ConfigError,
        match=r'a SGD with its groups and without its.*"zero_force_ds_cpu_optimizer": false',
    ):
        trainer.train()
    assert trainer.state.global_step == 0


class OwnThreshold(TrainerCallback):
    """Sets small gates to zero after each step."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        for gate in gates(model):
            gate.data[gate.abs() < 0.5] = 0


def test_a_threshold_of_ones_own_is_followed_where_that_is_said(
    llama: Architecture, wrap: Wrap, train: Train
) -> None:
    model, callback = wrap("sora", llama, r=6), SoRACallback(check_optimizer=False)
    plain = SGD(trainable(model), lr=1e-3)
    train(model, [OwnThreshold(), callback], optimizers=(plain, None)).train()
    assert 0 < callback.path[-1]["sora/remaining_gates"] < 24
    assert all("sora/lambda" not in row for row in callback.path)


def test_frozen_gates_need_no_optimizer_of_their_own(llama: Architecture, wrap: Wrap, train: Train) -> None:
    """What is left after sparsification is trained on, with the ranks that it has."""
    model, callback = wrap("sora", llama, r=4), SoRACallback()
    keep_ranks(model, [4, 0, 2, 2])
    for gate in gates(model):
        gate.requires_grad_(False)
    train(model, [callback], optimizers=(SGD(trainable(model), lr=0.1), None)).train()
    assert [row["sora/remaining_gates"] for row in callback.path] == [8] * 3
