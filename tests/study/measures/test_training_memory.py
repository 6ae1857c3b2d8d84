"""The split of training memory against counts by hand, and in a real run."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.tiny_models import run_spec
from torch import nn

from amplitune.study.data.tasks import load_task
from amplitune.study.measures import training_memory
from amplitune.study.measures.training_memory import TrainingMemory, tensor_bytes
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running import memory
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.running.training import build_trainer


def test_adam_keeps_two_moments_and_a_step_for_what_is_trained() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3, bias=False))
    model[0].requires_grad_(False)
    trainable = 7 + 7 + 21
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    model(torch.randn(4, 5)).sum().backward()
    optimizer.step()
    split = TrainingMemory()
    split.count(model, optimizer)
    # 35 + 7 frozen; running mean and variance, and a count in int64.
    assert split.weights == 4 * (42 + trainable + 14) + 8
    assert split.gradients == 4 * trainable
    # One step count, a float32, for each of three parameters.
    assert split.optimizer == 4 * (2 * trainable + 3)


def test_shared_memory_counts_once() -> None:
    embedding = nn.Embedding(10, 4)
    head = nn.Linear(4, 10, bias=False)
    head.weight = embedding.weight
    assert tensor_bytes([*embedding.parameters(), *head.parameters(), torch.empty(0)]) == 160


def test_counts_are_kept_in_a_checkpoint() -> None:
    kept = TrainingMemory(weights=100, gradients=20, optimizer=40).state_dict()
    resumed = TrainingMemory()
    resumed.load_state_dict(kept)
    assert resumed == TrainingMemory(100, 20, 40)


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    split = TrainingMemory(weights=100, gradients=20, optimizer=40)
    names = [
        "weights_bytes",
        "gradients_bytes",
        "optimizer_bytes",
        "activations_bytes",
        "peak_reserved_bytes",
    ]
    if not torch.cuda.is_available():
        assert list(split.columns(5000, memory.RESIDENT, 7).items()) == list(
            zip(names, [100, 20, 40, 7, None], strict=True)
        )
    assert split.columns(5000, memory.RESIDENT, None)["activations_bytes"] is None
    monkeypatch.setattr(training_memory, "read_reserved", lambda: 600)
    on_cuda = split.columns(500, memory.CUDA_ALLOCATED, 7)
    assert (on_cuda["activations_bytes"], on_cuda["peak_reserved_bytes"]) == (340, 600)
    assert TrainingMemory().columns(500, memory.CUDA_ALLOCATED, 7)["activations_bytes"] is None


@pytest.mark.parametrize("method", ["full", "lora", "prefix", "sora", "qaa"])
def test_a_real_run(tiny: Path, tmp_path: Path, method: str) -> None:
    spec = run_spec(tiny, method, training={"max_steps": 2})
    task = load_task(spec.task)
    tokenizer = load_tokenizer(spec)
    base = load_model(spec, load_config(spec, tokenizer, None))
    weights = tensor_bytes([*base.parameters(), *base.buffers()])
    model: Any = apply_method(base, find_method(method), "generation", spec.method.config)
    trainer = build_trainer(model, tokenizer, tokenize(task, spec.task, tokenizer), spec, tmp_path)
    split = TrainingMemory()
    trainer.add_callback(split)
    trainer.train()
    trainable = [p for p in model.parameters() if p.requires_grad]
    size = 4 * sum(p.numel() for p in trainable)
    assert split.weights == weights + (0 if method == "full" else size)
    assert split.gradients == size
    assert split.optimizer == 2 * size + 4 * len(trainable)
