"""Training by each method: what it may change, the optimizer, SoRA's proximal step, what is saved."""

from pathlib import Path

import peft
import pytest
import torch
from tests.study.training_run import METHODS, Run
from transformers import Trainer

from amplitune.study.running.models import load_config, load_model

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.parametrize("model", ["llama", "gpt2", "bert"])
def test_training_changes_what_the_method_trains_and_nothing_else(
    tiny: Path, tmp_path: Path, method: str, model: str
) -> None:
    run = Run(tiny, tmp_path, method, model, training={"learning_rate": 1e-2})
    trainable = {name for name, parameter in run.model.named_parameters() if parameter.requires_grad}
    before = run.state()
    run.trainer.train()
    after = run.state()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed <= trainable
    # BERT's query-independent key bias and the like never get a gradient in full fine-tuning.
    assert len(changed) >= 0.8 * len(trainable)
    if model == "bert" and method != "full":
        head = {name for name in trainable if "classifier" in name}
        assert len(head) == 2
        assert head <= changed
        assert all("modules_to_save" in name for name in head)
        assert isinstance(run.trainer, Trainer)


@pytest.mark.parametrize("model", ["llama", "bert"])
def test_sora_takes_one_proximal_step_for_each_optimizer_step(tiny: Path, tmp_path: Path, model: str) -> None:
    config = {
        "sparse_lambda": 1e-4,
        "lambda_schedule": "linear",
        "lambda_num_steps": 3,
        "lambda_end": 1e-2,
    }
    training = {"max_steps": 3, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    run = Run(tiny, tmp_path, {"method": "sora", "config": config}, model, training=training)
    run.trainer.train()
    optimizer = getattr(run.trainer.optimizer, "optimizer", run.trainer.optimizer)
    assert [group["sora_step"] for group in optimizer.param_groups if "sora_step" in group] == [3]
    assert len(run.batches) == 6


def test_gates_fall_to_zero_in_training(tiny: Path, tmp_path: Path) -> None:
    run = Run(
        tiny, tmp_path, {"method": "sora", "config": {"sparse_lambda": 10.0}}, training={"max_steps": 1}
    )
    run.trainer.train()
    gates = [p for name, p in run.model.named_parameters() if "sora_gate" in name]
    assert len(gates) == 4
    assert all(not gate.any() for gate in gates)


def test_the_optimizer_of_the_trainer_is_the_one_that_was_made(
    tiny: Path, tmp_path: Path, method: str
) -> None:
    run = Run(tiny, tmp_path, method, training={"max_steps": 1, "weight_decay": 0.1})
    given = run.trainer.optimizer
    run.trainer.train()
    assert getattr(run.trainer.optimizer, "optimizer", run.trainer.optimizer) is given
    held = {id(p) for group in given.param_groups for p in group["params"]}
    assert held == {id(p) for p in run.model.parameters() if p.requires_grad}


def test_gradient_checkpointing_changes_memory_and_not_gradients(
    tiny: Path, tmp_path: Path, method: str
) -> None:
    losses = []
    for on in (False, True):
        run = Run(
            tiny,
            tmp_path,
            method,
            training={"gradient_checkpointing": on, "logging_steps": 1, "learning_rate": 1e-3},
        )
        run.trainer.train()
        assert run.model.is_gradient_checkpointing is (on and method != "prefix")
        losses.append([event["loss"] for event in run.events if event["event"] == "train"])
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("method", METHODS[1:])
def test_an_adapter_that_was_saved_is_the_one_that_was_trained(
    tiny: Path, tmp_path: Path, method: str
) -> None:
    run = Run(tiny, tmp_path, method, training={"learning_rate": 1e-2})
    run.trainer.train()
    run.model.save_pretrained(tmp_path / "adapter")
    base = load_model(run.spec, load_config(run.spec, run.tokenizer, None))
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    ids = torch.tensor([run.splits["test"][0]["input_ids"]])
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, run.model.eval()(input_ids=ids).logits)
