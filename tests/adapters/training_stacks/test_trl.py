"""trl's trainers: supervised fine-tuning across a resume, and preferences against a reference."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from tests.adapters.training_stacks.training import (
    build_base,
    build_config,
    build_model,
    build_optimizer,
    sora_step,
    trained,
)
from tests.study.tiny_models import PAIRS, tokenizer
from torch import Tensor
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from amplitune import create_sora_optimizer

WORDS = tokenizer()
STEPS = 4
COMMON: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_steps": STEPS,
    "learning_rate": 0.02,
    "lr_scheduler_type": "linear",
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
    "report_to": "none",
    "seed": 3,
}


def fine_tuner(method: str, folder: Path, **arguments: Any) -> Any:
    """An SFTTrainer that puts the adapter into the model, and the optimizer around both, by itself."""
    optimizer: dict[str, Any] = {}
    if method == "sora":
        # transformers calls the first with nothing and what that gives with the model.
        optimizer["optimizer_cls_and_kwargs"] = (lambda: create_sora_optimizer, {"lr": 0.02})
    base = build_base(vocabulary=len(WORDS))
    torch.manual_seed(5)
    return SFTTrainer(
        base,
        SFTConfig(str(folder), save_steps=STEPS // 2, max_length=None, **COMMON | arguments),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=WORDS,
        peft_config=build_config(method, init_weights=True),
        **optimizer,
    )


def losses_of(trainer: Any) -> list[float]:
    return [event["loss"] for event in trainer.state.log_history if "loss" in event]


@pytest.mark.parametrize("method", ["qaa", "qaa-shared", "sora"])
def test_supervised_fine_tuning_and_resume(method: str, tmp_path: Path) -> None:
    whole = fine_tuner(method, tmp_path, gradient_checkpointing=False)
    before = trained(whole.model)
    whole.train()
    after = trained(whole.model)
    assert all(not torch.equal(value, before[name]) for name, value in after.items())
    assert sora_step(whole.optimizer) == (STEPS if method == "sora" else None)
    if method == "sora":
        zero = sum(int((value == 0).sum()) for name, value in after.items() if "sora_gate" in name)
        assert 0 < zero < 20

    # With activations recomputed, as trl does unless told otherwise, and from the middle.
    resumed = fine_tuner(
        method, tmp_path, gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": True}
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{STEPS // 2}"))
    assert losses_of(resumed) == pytest.approx(losses_of(whole), rel=1e-5)
    assert sora_step(resumed.optimizer) == sora_step(whole.optimizer)
    for name, value in trained(resumed.model).items():
        torch.testing.assert_close(value, after[name], rtol=1e-4, atol=1e-5, msg=name)


def preferences() -> Dataset:
    """Which of two answers is better."""
    worse = [row["completion"] for row in PAIRS[1:] + PAIRS[:1]]
    return Dataset.from_list(
        [
            {"prompt": row["prompt"], "chosen": row["completion"], "rejected": other}
            for row, other in zip(PAIRS, worse, strict=True)
        ]
    )


def preference_trainer(method: str, model: Any, folder: Path, **arguments: Any) -> Any:
    return DPOTrainer(
        model,
        args=DPOConfig(str(folder), save_strategy="no", **COMMON | arguments),
        train_dataset=preferences(),
        processing_class=WORDS,
        optimizers=(build_optimizer(model, method), None),
    )


@pytest.mark.parametrize("method", ["qaa", "qaa-shared", "sora"])
def test_preferences_of_a_fresh_adapter(method: str, tmp_path: Path) -> None:
    """Against a second adapter that trl adds, and against what it has computed before."""
    found = []
    for precompute in (False, True):
        model = build_model(method, vocabulary=len(WORDS), init_weights=True)
        start = {name: value.clone() for name, value in model.state_dict().items()}
        trainer = preference_trainer(method, model, tmp_path, precompute_ref_log_probs=precompute)
        trainer.train()
        found.append(losses_of(trainer))
        names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        after = model.state_dict()
        assert names == {name for name, value in start.items() if not torch.equal(after[name], value)}
        assert names
        assert all(name.endswith(".default") for name in names)
        assert sora_step(trainer.optimizer) == (STEPS if method == "sora" else None)
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[0][0] == pytest.approx(math.log(2), rel=1e-4), "what changes nothing prefers nothing"
    assert found[0][-1] != pytest.approx(math.log(2), rel=1e-3)


def test_preferences_against_the_model_with_its_adapter_disabled(tmp_path: Path) -> None:
    """Where trl puts the adapter into the model, it adds no second one."""
    losses = []
    start: dict[str, Tensor] = {}
    for config in (build_config("qaa", init_weights=True), None):
        model = build_base(vocabulary=len(WORDS)) if config else build_model("qaa", vocabulary=len(WORDS))
        if start:
            set_peft_model_state_dict(model, start)
        trainer: Any = DPOTrainer(
            model,
            args=DPOConfig(str(tmp_path), save_strategy="no", **COMMON),
            train_dataset=preferences(),
            processing_class=WORDS,
            peft_config=config,
        )
        assert list(trainer.model.peft_config) == ["default", *([] if config else ["ref"])]
        start = start or {
            name: value.clone() for name, value in get_peft_model_state_dict(trainer.model).items()
        }
        if not config:
            set_peft_model_state_dict(model, start, adapter_name="ref")
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] == pytest.approx(math.log(2), rel=1e-4)


def test_preferences_of_a_trained_adapter(tmp_path: Path) -> None:
    """trl copies a trained adapter into its reference by LoRA's names; others must be copied by hand."""
    model = build_model("sora", vocabulary=len(WORDS))
    first: list[float] = []
    for copied in (True, False):
        trainer = preference_trainer("sora", model, tmp_path, max_steps=1)
        if copied:
            weights = get_peft_model_state_dict(model, adapter_name="default")
            set_peft_model_state_dict(model, weights, adapter_name="ref")
        before: dict[str, Tensor] = get_peft_model_state_dict(model, adapter_name="ref")
        trainer.train()
        first.append(trainer.state.log_history[0]["loss"])
        after = get_peft_model_state_dict(model, adapter_name="ref")
        assert all(torch.equal(after[name], value) for name, value in before.items())
        model.delete_adapter("ref")
    assert first[0] == pytest.approx(math.log(2), rel=1e-4)
    assert first[1] != pytest.approx(math.log(2), rel=1e-2)
