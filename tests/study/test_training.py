"""Training: the order of the data, the loss mask, the optimizer's steps, and what training may change."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from tests.study.tiny_models import run_spec
from transformers import Trainer, TrainerCallback

from amplitune.errors import TrainingError
from amplitune.study.methods import apply_method, find_method
from amplitune.study.models import load_config, load_model, load_tokenizer
from amplitune.study.preflight import tokenize
from amplitune.study.tasks import load_task
from amplitune.study.training import StepClock, build_trainer

METHODS = ("full", "lora", "prefix", "sora", "qaa")


class Run:
    """A run's model and trainer, built as `run` builds them, with the batches and events of its training."""

    def __init__(self, tiny: Path, scratch: Path, method: Any, model: str = "llama", **changes: Any) -> None:
        self.spec = run_spec(tiny, method, model, **changes)
        task = load_task(self.spec.task)
        self.tokenizer = load_tokenizer(self.spec)
        transformers.set_seed(self.spec.seed)
        base = load_model(self.spec, load_config(self.spec, self.tokenizer, task.labels))
        self.model: Any = apply_method(
            base, find_method(self.spec.method.method), task.kind, self.spec.method.config
        )
        self.splits = tokenize(task, self.spec.task, self.tokenizer)
        self.trainer: Any = build_trainer(self.model, self.tokenizer, self.splits, self.spec, scratch)
        self.events: list[Mapping[str, Any]] = []
        self.steps: list[tuple[int, int]] = []
        self.clock = StepClock(self.events.append, lambda done, total: self.steps.append((done, total)))
        self.trainer.add_callback(self.clock)
        self.batches: list[dict[str, torch.Tensor]] = []
        compute = self.trainer.compute_loss

        def recorded(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if model.training:
                self.batches.append({key: value.clone() for key, value in inputs.items()})
            return compute(model, inputs, *args, **kwargs)

        vars(self.trainer)["compute_loss"] = recorded

    def state(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def equal(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("model", ["llama", "bert"])
def test_every_method_sees_the_same_batches_from_one_seed(tiny: Path, tmp_path: Path, model: str) -> None:
    training = {"max_steps": 6}
    runs = [Run(tiny, tmp_path, name, model, training=training) for name in METHODS]
    other = Run(tiny, tmp_path, "lora", model, training=training, seeds=[1])
    for run in (*runs, other):
        run.trainer.train()
    # 16 examples in batches of 4: the second epoch begins within these steps.
    assert len(runs[0].batches) == 6
    assert all(equal(run.batches, runs[0].batches) for run in runs[1:])
    assert not equal(other.batches, runs[0].batches)


def test_the_loss_is_on_the_answer_and_its_eos_alone(tiny: Path, tmp_path: Path) -> None:
    run = Run(tiny, tmp_path, "lora", training={"max_steps": 4})
    run.trainer.train()
    eos, pad = run.tokenizer.eos_token_id, run.tokenizer.pad_token_id
    rows = {tuple(row["input_ids"]): row["completion_mask"] for row in run.splits["train"]}
    seen = 0
    for batch in run.batches:
        for ids, mask, labels in zip(
            batch["input_ids"].tolist(),
            batch["attention_mask"].tolist(),
            batch["labels"].tolist(),
            strict=True,
        ):
            length = sum(mask)
            assert mask == [1] * length + [0] * (len(ids) - length), "padding is on the right"
            assert set(ids[length:]) <= {pad}
            answer = rows[tuple(ids[:length])]
            assert labels[:length] == [
                token if scored else -100 for token, scored in zip(ids[:length], answer, strict=True)
            ]
            assert set(labels[length:]) <= {-100}
            assert labels[length - 1] == eos
            assert labels[0] == -100
            seen += 1
    assert seen == 16


def test_the_logged_loss_is_the_mean_over_answer_tokens(tiny: Path, tmp_path: Path, method: str) -> None:
    # Two unequal halves of a step must weigh by their tokens, not by their batches.
    training = {
        "max_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-9,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
    }
    run = Run(tiny, tmp_path, method, training=training)
    run.trainer.train()
    logged = [event["loss"] for event in run.events if event["event"] == "train"]
    assert len(logged) == 2
    run.model.train()
    for step, loss in enumerate(logged):
        total, tokens = 0.0, 0
        for batch in run.batches[2 * step : 2 * step + 2]:
            with torch.no_grad():
                logits = run.model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
                ).logits
            logits = logits[:, -batch["input_ids"].shape[1] :]
            target = batch["labels"][:, 1:]
            total += float(
                torch.nn.functional.cross_entropy(
                    logits[:, :-1].flatten(0, 1), target.flatten(), ignore_index=-100, reduction="sum"
                )
            )
            tokens += int((target != -100).sum())
        assert loss == pytest.approx(total / tokens, rel=1e-4)


def test_the_validation_loss_is_the_mean_over_answer_tokens(tiny: Path, tmp_path: Path) -> None:
    run = Run(tiny, tmp_path, "lora", training={"max_steps": 1, "learning_rate": 1e-9})
    run.trainer.train()
    (event,) = [event for event in run.events if event["event"] == "eval"]
    total, tokens = 0.0, 0
    run.model.eval()
    for row in run.splits["validation"]:
        ids = torch.tensor([row["input_ids"]])
        labels = ids.masked_fill(torch.tensor([row["completion_mask"]]) == 0, -100)
        with torch.no_grad():
            loss = run.model(input_ids=ids, labels=labels).loss
        total += float(loss) * sum(row["completion_mask"])
        tokens += sum(row["completion_mask"])
    assert event["eval_loss"] == pytest.approx(total / tokens, rel=1e-4)


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


@pytest.mark.parametrize("model", ["llama", "bert"])
def test_a_loss_that_is_not_finite_ends_the_run(tiny: Path, tmp_path: Path, model: str) -> None:
    run = Run(tiny, tmp_path, "full", model, training={"max_steps": 3, "logging_steps": 1})
    with torch.no_grad():
        next(p for name, p in run.model.named_parameters() if name.endswith("weight")).fill_(math.nan)
    with pytest.raises(TrainingError, match="loss must be finite, but is nan at step 1"):
        run.trainer.train()
    assert run.events == []


def test_both_curves_reach_the_last_step(tiny: Path, tmp_path: Path) -> None:
    run = Run(
        tiny,
        tmp_path,
        "lora",
        training={"max_steps": 7, "logging_steps": 3, "eval_steps": 4, "warmup_steps": 2},
    )
    run.trainer.train()
    assert [event["step"] for event in run.events if event["event"] == "train"] == [3, 6, 7]
    assert [event["step"] for event in run.events if event["event"] == "eval"] == [4, 7]
    assert run.steps == [(step, 7) for step in range(1, 8)]
    tokens = [int(batch["attention_mask"].sum()) for batch in run.batches]
    for event in run.events:
        assert event["tokens"] == sum(tokens[: event["step"]])
    seconds = [event["seconds"] for event in run.events]
    assert seconds == sorted(seconds)
    assert run.clock.seconds == sum(run.clock.step_seconds)


class _SlowEvaluation(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Moves a clock on by an hour in each evaluation, and by a second in each step."""

    def __init__(self) -> None:
        self.now = 0.0

    def on_substep_end(self, *args: Any, **kwargs: Any) -> None:
        self.now += 1.0

    def on_evaluate(self, *args: Any, **kwargs: Any) -> None:
        self.now += 3600.0


def test_the_step_clock_leaves_evaluation_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = _SlowEvaluation()
    monkeypatch.setattr("amplitune.study.training.time.perf_counter", lambda: time.now)
    training = {
        "max_steps": 5,
        "eval_steps": 1,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 2,
    }
    run = Run(tiny, tmp_path, "lora", training=training)
    run.trainer.add_callback(time)
    run.trainer.train()
    assert time.now == 5 * 3601.0
    assert run.clock.step_seconds == [1.0] * 5
    assert run.clock.seconds == 5.0
    assert run.clock.median_step == 1.0


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
