"""Angles in 16 bits stay at their random start, which is said when training begins."""

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tests.adapters.conftest import VOCABULARY, Architecture, MakeConfig, Wrap
from torch import nn
from transformers import Trainer, TrainingArguments


def cast(model: nn.Module, dtype: torch.dtype) -> None:
    """As trl's trainers do to the adapter of a quantised model, and to cast back."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def train(model: Any, folder: Path) -> None:
    rows = torch.randint(0, VOCABULARY, (16, 6), generator=torch.Generator().manual_seed(5)).tolist()
    data: Any = [{"input_ids": row, "labels": row} for row in rows]
    arguments = TrainingArguments(
        str(folder),
        max_steps=4,
        learning_rate=2e-4,
        per_device_train_batch_size=4,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
    )
    Trainer(model, arguments, train_dataset=data).train()


@pytest.mark.parametrize("name", ["qaa", "control"])
def test_a_cast_adapter_is_a_warning_and_cast_back_it_trains(
    llama: Architecture, wrap: Wrap, tmp_path: Path, name: str
) -> None:
    model: Any = wrap(name, llama)
    cast(model, torch.bfloat16)
    angles = {key: value for key, value in model.named_parameters() if "_angles" in key}
    before = {key: value.detach().clone() for key, value in angles.items()}
    with pytest.warns(UserWarning, match=r"angles of adapter 'default' are torch\.bfloat16"):
        train(model, tmp_path)
    moved = torch.cat([(value != before[key]).flatten() for key, value in angles.items()])
    assert moved.float().mean() < 0.2, "the warning says that they stay"
    cast(model, torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*angles of adapter")
        train(model, tmp_path)
    assert all((value != before[key]).all() for key, value in angles.items())


def test_what_is_not_trained_or_has_no_angles_is_no_warning(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    frozen, sora = wrap("qaa", llama), wrap("sora", llama)
    cast(sora, torch.bfloat16)
    cast(frozen, torch.bfloat16)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*angles of adapter")
        sora.train()
        frozen.eval()
        for parameter in frozen.parameters():
            parameter.requires_grad_(False)
        frozen.train()
        # A model in 16 bits has an adapter in 32.
        peft.get_peft_model(llama.model().to(torch.bfloat16), make_config("qaa", llama)).train()


def test_angles_with_a_copy_in_float32_are_no_warning(llama: Architecture, wrap: Wrap) -> None:
    model: Any = wrap("qaa", llama)
    cast(model, torch.bfloat16)
    with pytest.warns(UserWarning, match="angles of adapter"):
        model.train()
    for parameter in model.parameters():
        parameter._hp_mapping = None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*angles of adapter")
        model.train()
