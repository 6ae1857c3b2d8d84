"""The published settings for GLUE fit the model that they are for."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, TrainingArguments

from amplitune import create_sora_optimizer, gate_sparsity
from amplitune.adapters import gate_penalty, glue_preset
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError

TASKS = ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"]


def deberta(num_labels: int) -> Any:
    return DebertaV2ForSequenceClassification(
        DebertaV2Config(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=20,
            max_position_embeddings=32,
            relative_attention=True,
            id2label={index: str(index) for index in range(num_labels)},
        )
    )


@pytest.mark.parametrize("task", TASKS)
def test_a_preset_is_complete(task: str, tmp_path: Path) -> None:
    preset = glue_preset(task)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[], **preset.training)
    assert arguments.get_warmup_steps(1000) == 60
    assert preset.num_labels == {"stsb": 1, "mnli": 3}.get(task, 2)
    config = preset.config(r=4)
    assert (config.r, config.lora_alpha, config.sparse_lambda, config.threshold_rule) == (
        4,
        16,
        3e-4,
        "reference",
    )


def test_it_trains_what_the_reference_code_trains() -> None:
    preset = glue_preset("stsb")
    torch.manual_seed(0)
    model: Any = peft.get_peft_model(deberta(preset.num_labels), preset.config())
    wrapped = {
        name.split("layer.0.")[1]
        for name, m in model.named_modules()
        if isinstance(m, SoRALayer) and "layer.0." in name
    }
    assert wrapped == {
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    }
    trained = {
        name.split(".modules_to_save")[0].removeprefix("base_model.model.")
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "sora_" not in name
    }
    norms = {
        f"deberta.encoder.layer.{i}.{block}output.LayerNorm" for i in (0, 1) for block in ("attention.", "")
    }
    assert trained == norms | {"pooler", "classifier"}
    assert gate_sparsity(model).gates == 2 * 6 * 8

    optimizer = create_sora_optimizer(model, **preset.optimizer)
    tokens = torch.randint(0, 50, (4, 6))
    loss = model(input_ids=tokens, labels=torch.randn(4)).loss + preset.gate_penalty * gate_penalty(model)
    loss.backward()
    gate = next(m.sora_gate["default"] for m in model.modules() if isinstance(m, SoRALayer))
    # B is zero at the start: the gradient of the gates is that of the penalty alone.
    assert torch.allclose(gate.grad, 10 / 96 * gate.sign())
    optimizer.step()


def test_the_gate_penalty_is_the_mean_of_all_gates() -> None:
    model: Any = peft.get_peft_model(deberta(2), glue_preset("rte").config(rank_pattern={"query_proj": 3}))
    gates = torch.cat([m.sora_gate["default"] for m in model.modules() if isinstance(m, SoRALayer)])
    assert len(gates) == 2 * (5 * 8 + 3)
    torch.testing.assert_close(gate_penalty(model), gates.abs().mean())
    with pytest.raises(ConfigError, match="Did you mean 'default'"):
        gate_penalty(model, "defualt")


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"`task` must be .*'stsb'"):
        glue_preset("sts-b")
