"""Training: the order of the data, the loss mask, the losses that are logged, the clock of the steps."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.training_run import METHODS, Run
from transformers import TrainerCallback

from amplitune.errors import TrainingError

pytestmark = pytest.mark.usefixtures("deterministic")


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


def test_the_logged_loss_of_a_classifier_is_a_mean_over_the_batches_of_a_step(
    tiny: Path, tmp_path: Path
) -> None:
    training = {"max_steps": 1, "logging_steps": 1, "per_device_train_batch_size": 2}
    run = Run(tiny, tmp_path, "lora", "bert", training={**training, "gradient_accumulation_steps": 2})
    run.trainer.train()
    (logged,) = [event["loss"] for event in run.events if event["event"] == "train"]
    # Two classes, untrained: about log 2, not twice that. Dropout moves it a little.
    assert logged == pytest.approx(math.log(2), abs=0.1)


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
    monkeypatch.setattr("amplitune.study.running.training.time.perf_counter", lambda: time.now)
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
