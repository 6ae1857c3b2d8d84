"""SoRA's optimizer in transformers' Trainer: one proximal step per optimizer step, also across a resume."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from tests.adapters.conftest import VOCABULARY, Architecture, Wrap
from transformers import Trainer, TrainingArguments

from amplitune import create_sora_optimizer, gate_sparsity

STEPS = 6


def trainer(model: PeftModel, folder: Path) -> Any:
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(0, VOCABULARY, (48, 6), generator=generator).tolist()
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        max_steps=STEPS,
        save_steps=STEPS // 2,
        lr_scheduler_type="constant",
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
        seed=3,
    )
    optimizer = create_sora_optimizer(model, lr=1e-2)
    data: Any = [{"input_ids": row, "labels": row} for row in rows]
    return Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, None))


def test_accumulation_and_resume(llama: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "init_weights": True,
        "sparse_lambda": 1e-3,
        "lambda_schedule": "log-linear",
        "lambda_num_steps": STEPS,
        "lambda_end": 0.5,
    }
    whole = wrap("sora", llama, **fields)
    run = trainer(whole, tmp_path)
    run.train()
    assert [group.get("sora_step") for group in run.optimizer.param_groups] == [None, STEPS]
    assert 0 < gate_sparsity(whole).sparsity < 1

    resumed = wrap("sora", llama, **fields)
    run = trainer(resumed, tmp_path)
    run.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{STEPS // 2}"))
    assert [group.get("sora_step") for group in run.optimizer.param_groups] == [None, STEPS]
    expected = whole.state_dict()
    found = resumed.state_dict()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
