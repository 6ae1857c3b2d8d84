"""The probe of the longest batches: what it measures, what it leaves alone, what it says of a full memory."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.study.tiny_models import run_spec

from amplitune.errors import TrainingError
from amplitune.study.data.tasks import load_task
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.planning.memory_prediction import predict_memory
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running import probe
from amplitune.study.running.longest_batch import longest_batches
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.running.probe import probe_longest
from amplitune.study.running.training import build_trainer
from amplitune.study.settings.config import RunSpec

DROPOUT = {"method": "lora", "config": {"lora_dropout": 0.3}}


def prepared(spec: RunSpec) -> tuple[Any, Any, Any]:
    task, tokenizer = load_task(spec.task), load_tokenizer(spec)
    splits = tokenize(task, spec.task, tokenizer)
    transformers.set_seed(spec.seed)
    base = load_model(spec, load_config(spec, tokenizer, task.labels))
    model = apply_method(base, find_method(spec.method.method), task.kind, spec.method.config)
    return model, tokenizer, splits


@pytest.mark.parametrize(
    ("method", "model", "checkpointing"),
    [(DROPOUT, "llama", False), (DROPOUT, "llama", True), ("full", "gpt2", False), ("full", "bert", False)],
    ids=str,
)
def test_a_run_is_the_same_with_the_probe(
    tiny: Path, tmp_path: Path, method: Any, model: str, checkpointing: bool
) -> None:
    spec = run_spec(
        tiny, method, model, training={"gradient_checkpointing": checkpointing, "logging_steps": 1}
    )
    losses, weights = [], []
    for probed in (False, True):
        network, tokenizer, splits = prepared(spec)
        if probed:
            probe_longest(network, tokenizer, splits, spec)
        trainer = build_trainer(network, tokenizer, splits, spec, tmp_path)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        weights.append([p.detach().clone() for p in network.parameters() if p.requires_grad])
    assert len(losses[0]) == 4
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_everything_is_put_back(tiny: Path) -> None:
    spec = run_spec(tiny, DROPOUT, training={"gradient_checkpointing": True})
    model, tokenizer, splits = prepared(spec)
    model.register_buffer("steps", torch.zeros(3))

    def count(module: Any, _: Any) -> None:
        module.steps.add_(1)

    model.register_forward_pre_hook(count)
    model.base_model.eval()
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    hooks = {name: len(module._forward_hooks) for name, module in model.named_modules()}
    probe_longest(model, tokenizer, splits, spec)
    assert model.steps.tolist() == [0, 0, 0]
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[2], strict=True))
    assert {name: len(module._forward_hooks) for name, module in model.named_modules()} == hooks
    assert not model.is_gradient_checkpointing


@pytest.mark.parametrize("method", ["base", "full", "lora", "prefix", "sora", "qaa"])
@pytest.mark.parametrize("model", ["llama", "bert"])
def test_it_measures_what_is_predicted(tiny: Path, model: str, method: str) -> None:
    spec = run_spec(tiny, method, model)
    network, tokenizer, splits = prepared(spec)
    measured = probe_longest(network, tokenizer, splits, spec)
    config = load_config(spec, tokenizer, load_task(spec.task).labels)
    predicted = predict_memory(spec, config, longest_batches(spec, splits, tokenizer.pad_token_id))
    assert predicted.evaluation is not None
    assert measured["evaluation_peak_bytes"] == pytest.approx(predicted.evaluation.peak, rel=0.02)
    assert measured["weights_bytes"] == predicted.evaluation.weights
    if predicted.training is None:
        assert set(measured) == {"weights_bytes", "activations_bytes", "evaluation_peak_bytes"}
        return
    assert measured["gradients_bytes"] == predicted.training.gradients
    assert measured["optimizer_bytes"] == predicted.training.optimizer
    assert measured["training_peak_bytes"] == pytest.approx(predicted.training.peak, rel=0.02)


def test_it_takes_the_longest_rows(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = run_spec(
        tiny, "lora", training={"per_device_train_batch_size": 3, "per_device_eval_batch_size": 2}
    )
    model, tokenizer, splits = prepared(spec)
    shapes = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    probe_longest(model, tokenizer, splits, spec)
    longest = {
        name: sorted((len(row["input_ids"]) for row in rows), reverse=True) for name, rows in splits.items()
    }
    prompt = max(row["completion_mask"].index(1) for row in splits["test"])
    assert shapes == [(3, longest["train"][0]), (2, prompt), (2, longest["test"][0])]


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (
            "training_step",
            torch.OutOfMemoryError("CUDA out of memory."),
            ["per_device_train_batch_size", "checkpoint"],
        ),
        ("training_step", RuntimeError("DefaultCPUAllocator: can't allocate memory: ..."), ["max_length"]),
        ("generation_step", MemoryError(), ["per_device_eval_batch_size", "max_new_tokens"]),
    ],
    ids=["cuda", "cpu", "generation"],
)
def test_a_full_memory_says_what_to_lower(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception, words: list[str]
) -> None:
    def fail(*_args: Any) -> None:
        raise error

    monkeypatch.setattr(probe, step, fail)
    spec = run_spec(tiny, "lora")
    model, tokenizer, splits = prepared(spec)
    with pytest.raises(TrainingError, match="must fit into memory") as caught:
        probe_longest(model, tokenizer, splits, spec)
    assert all(word in str(caught.value) for word in [*words, "pairs", "lora"])
    assert all(p.grad is None for p in model.parameters())


def test_another_error_is_not_called_a_full_memory(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(probe, "training_step", fail)
    spec = run_spec(tiny, "lora")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        probe_longest(*prepared(spec), spec)


def test_a_model_in_shards_is_not_probed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "training_step", lambda *_: pytest.fail("it was probed whole"))
    spec = run_spec(tiny, "lora", processes_per_run=2, distributed="fsdp")
    assert probe_longest(*prepared(spec), spec) == {"activations_bytes": None}
