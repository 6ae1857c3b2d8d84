"""QAA with angles that stay at their random start: what trains, what is saved, what is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits, train_one_step
from torch import Tensor

from amplitune import ParameterCount, QAAConfig, count_parameters
from amplitune.adapters.qaa.stored_circuit import stored_circuits

QUBITS, MODULES = 5, 4
CLASSICAL = 2 * (QUBITS + 1) * (24 + 12)
"""Of the tiny Llama: q_proj of width 24 and v_proj of width 12, twice."""


def angles_of(model: Any, adapter: str = "default") -> list[Tensor]:
    return [p for name, p in model.named_parameters() if name.endswith(f"qaa_angles.{adapter}")]


def test_frozen_angles_do_not_train_and_everything_else_does(
    llama: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap("qaa", llama, train_angles=False).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if ".qaa_" in name}
    for _ in range(2):
        train_one_step(model, llama, tokens)
    after = dict(model.named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert len(before) == 3 * MODULES
    assert changed == {name for name in before if "qaa_angles" not in name}


def test_no_way_to_let_an_adapter_train_thaws_them(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig
) -> None:
    model: Any = wrap("qaa", llama, train_angles=False)
    model.add_adapter("second", make_config("qaa", llama))

    def trainable(adapter: str) -> set[bool]:
        return {angles.requires_grad for angles in angles_of(model, adapter)}

    model.set_adapter("second")
    assert (trainable("default"), trainable("second")) == ({False}, {True})
    model.set_adapter("default")
    assert (trainable("default"), trainable("second")) == ({False}, {False})
    model.set_requires_grad("default")
    with model.disable_adapter():
        pass
    assert trainable("default") == {False}
    assert {p.requires_grad for name, p in model.named_parameters() if "up_proj.default" in name} == {True}


def test_they_are_counted_apart(llama: Architecture, wrap: Wrap) -> None:
    model = wrap("qaa", llama, train_angles=False)
    total = sum(p.numel() for p in llama.model().parameters())
    count = count_parameters(model)
    assert count == ParameterCount(CLASSICAL, 0, CLASSICAL, total, frozen_angles=QUBITS * MODULES)
    assert str(count).endswith("%; 20 angles frozen")
    trained = wrap("qaa", llama)
    assert count_parameters(trained).frozen_angles == 0
    trained.add_adapter("second", QAAConfig(target_modules=["q_proj"], train_angles=False))
    assert count_parameters(trained).frozen_angles == 0, "not active"
    with model.disable_adapter():
        assert count_parameters(model) == ParameterCount(0, 0, 0, total)


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_they_are_saved_and_loaded(
    llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, low_cpu_mem_usage: bool
) -> None:
    model = wrap("qaa", llama, train_angles=False)
    model.save_pretrained(str(tmp_path))
    assert len(stored_circuits(tmp_path)) == MODULES
    loaded = PeftModel.from_pretrained(
        llama.model(), str(tmp_path), is_trainable=True, low_cpu_mem_usage=low_cpu_mem_usage
    )
    assert torch.equal(logits(loaded.eval(), tokens), logits(model, tokens))
    assert count_parameters(loaded) == count_parameters(model)


def test_an_adapter_saved_before_the_field_existed_trains_its_angles(
    llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model = wrap("qaa", llama)
    model.save_pretrained(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    values = json.loads(file.read_text())
    assert values.pop("train_angles") is True
    file.write_text(json.dumps(values))
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path), is_trainable=True)
    assert torch.equal(logits(loaded.eval(), tokens), logits(model, tokens))
    assert count_parameters(loaded) == count_parameters(model)
    assert count_parameters(loaded).angles == QUBITS * MODULES
