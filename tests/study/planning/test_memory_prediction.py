"""Predicted memory: against the same steps on real tensors, and against what is known without either."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.tiny_models import run_spec
from transformers import AutoModelForCausalLM, GPTNeoConfig, LlamaConfig, PretrainedConfig

from amplitune.errors import ConfigError
from amplitune.study.data.tasks import load_task
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.planning.memory_prediction import (
    MemoryPrediction,
    measure_evaluation,
    measure_training,
    predict_memory,
    quiet,
)
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.longest_batch import LongestBatches, longest_batches
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.settings.config import RunSpec, StudyConfig

SHAPES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(
        vocab_size=500,
        hidden_size=96,
        intermediate_size=200,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=3,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt_neo": GPTNeoConfig(
        vocab_size=500,
        hidden_size=96,
        num_layers=4,
        num_heads=6,
        attention_types=[[["global", "local"], 2]],
        bos_token_id=1,
        eos_token_id=2,
    ),
}
METHODS: list[str | dict[str, Any]] = [
    "full",
    "bias",
    "lora",
    "prefix",
    "sora",
    "qaa",
    "ia3",
    "loha",
    "vera",
    "boft",
    {"method": "lora", "name": "dora", "config": {"use_dora": True, "lora_dropout": 0.1}},
    {"method": "prompt_tuning", "config": {"num_virtual_tokens": 5}},
]


def spec_of(method: str | dict[str, Any], **changes: Any) -> RunSpec:
    task = {"name": "t", "dataset_name": "zoo:t", "kind": "generation"}
    study = StudyConfig.parse({"model_name_or_path": "x", "tasks": [task], "methods": [method], **changes})
    (spec,) = study.runs()
    return spec.model_copy(update={"task": spec.task.resolved("generation")})


def batches_of(length: int = 48, size: int = 4, padded: bool = True) -> LongestBatches:
    def row(tokens: int) -> dict[str, Any]:
        return {"input_ids": [5] * tokens, "completion_mask": [0] * 10 + [1] * (tokens - 10)}

    rows = [row(length - padded * number) for number in range(size)]
    return LongestBatches("generation", rows, rows, [row["input_ids"][:10] for row in rows], 30, 0, True)


def measured(spec: RunSpec, config: PretrainedConfig, batches: LongestBatches) -> MemoryPrediction:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with quiet():
        model = apply_method(model, find_method(spec.method.method), "generation", spec.method.config)
        return MemoryPrediction(measure_training(model, spec, batches), measure_evaluation(model, batches))


def close(predicted: MemoryPrediction, real: MemoryPrediction) -> None:
    assert predicted.reason == ""
    for found, expected in ((predicted.training, real.training), (predicted.evaluation, real.evaluation)):
        if expected is None:
            assert found is None
            continue
        assert found is not None
        assert (found.weights, found.gradients) == (expected.weights, expected.gradients)
        assert found.optimizer == expected.optimizer
        assert found.activations == pytest.approx(expected.activations, rel=0.02)
        assert found.peak == pytest.approx(expected.peak, rel=0.02)


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_prediction_is_what_real_tensors_take(shape: str, method: str | dict[str, Any]) -> None:
    if (shape, method) == ("gpt_neo", "vera"):
        method = {"method": "vera", "config": {"target_modules": ["q_proj", "v_proj"]}}
    spec = spec_of(method)
    close(predict_memory(spec, SHAPES[shape], batches_of()), measured(spec, SHAPES[shape], batches_of()))


def test_the_controls_of_qaa() -> None:
    controlled = StudyConfig.parse(
        {
            "model_name_or_path": "x",
            "tasks": [{"name": "t", "dataset_name": "zoo:t", "kind": "generation"}],
            "methods": ["qaa"],
            "controls": True,
        }
    )
    runs = [run for run in controlled.runs() if run.method.control_of]
    assert len(runs) >= 5
    for run in runs:
        spec = run.model_copy(update={"task": run.task.resolved("generation")})
        close(
            predict_memory(spec, SHAPES["llama"], batches_of()), measured(spec, SHAPES["llama"], batches_of())
        )


SETTINGS: list[tuple[dict[str, Any], bool]] = [
    ({"training": {"gradient_checkpointing": True}}, True),
    ({"training": {"gradient_accumulation_steps": 4}}, True),
    ({"training": {"bf16": True}}, True),
    ({}, False),
]


@pytest.mark.parametrize(("changes", "padded"), SETTINGS, ids=str)
def test_the_settings_of_training_count(changes: dict[str, Any], padded: bool) -> None:
    spec, batches = spec_of("lora", **changes), batches_of(padded=padded)
    close(predict_memory(spec, SHAPES["llama"], batches), measured(spec, SHAPES["llama"], batches))


@pytest.mark.parametrize("method", ["base", "full", "lora", "prefix", "sora", "qaa"])
@pytest.mark.parametrize("model", ["llama", "gpt2", "bert"])
def test_the_models_of_a_study(tiny: Path, model: str, method: str) -> None:
    spec = run_spec(tiny, method, model)
    task, tokenizer = load_task(spec.task), load_tokenizer(spec)
    pad: Any = tokenizer.pad_token_id
    batches = longest_batches(spec, tokenize(task, spec.task, tokenizer), pad)
    predicted = predict_memory(spec, load_config(spec, tokenizer, task.labels), batches)
    torch.manual_seed(0)
    real: Any = load_model(spec, load_config(spec, tokenizer, task.labels))
    real = apply_method(real, find_method(method), task.kind, spec.method.config)
    with quiet():
        close(
            predicted,
            MemoryPrediction(measure_training(real, spec, batches), measure_evaluation(real, batches)),
        )
    assert (predicted.training is None) == (method == "base")


def peak(method: str, batches: LongestBatches, **training: Any) -> int:
    found = predict_memory(spec_of(method, training=training), SHAPES["gpt_neo"], batches).training
    assert found is not None
    return found.peak


def test_what_lowers_and_what_raises_it() -> None:
    plain = peak("full", batches_of())
    assert peak("full", batches_of(), gradient_checkpointing=True) < plain
    assert peak("lora", batches_of()) < plain
    assert peak("full", batches_of(size=8)) > plain
    assert peak("full", batches_of(length=64)) > plain
    # Prefix tuning cannot be trained with it, so the run leaves it off.
    assert peak("prefix", batches_of(), gradient_checkpointing=True) == peak("prefix", batches_of())


def test_several_processes() -> None:
    """Replicas keep the gradients a second time, in the buckets that they exchange."""
    one = predict_memory(spec_of("full"), SHAPES["llama"], batches_of()).training
    two = predict_memory(spec_of("full", processes_per_run=2), SHAPES["llama"], batches_of()).training
    assert one is not None
    assert two is not None
    assert one.peak <= two.peak <= one.peak + one.gradients
    shards = predict_memory(
        spec_of("full", processes_per_run=2, distributed="fsdp"), SHAPES["llama"], batches_of()
    )
    assert shards.peak is None
    assert "fsdp" in shards.reason


def test_the_cache_of_generation_by_hand() -> None:
    """Keys and values of every layer and token, in float32: the evaluation cannot take less than these."""
    config = SHAPES["llama"]
    for new_tokens in (30, 3000):
        rows = [{"input_ids": [5] * 11, "completion_mask": [0] * 10 + [1]}] * 4
        batches = LongestBatches("generation", rows, rows, [[5] * 10] * 4, new_tokens, 0, False)
        split = predict_memory(spec_of("base"), config, batches).evaluation
        assert split is not None
        tokens = 4 * (10 + new_tokens - 1)
        head = config.hidden_size // config.num_attention_heads
        cache = 2 * config.num_hidden_layers * tokens * config.num_key_value_heads * head * 4
        assert split.activations >= cache
        most = split.activations
    # Where it dominates, little comes on top: one layer's old keys beside its new ones.
    assert most < cache * (1 + 2 / config.num_hidden_layers)


def test_a_method_that_needs_weights_says_so() -> None:
    found = predict_memory(spec_of("adamss"), SHAPES["llama"], batches_of())
    assert (found.training, found.evaluation, found.peak) == (None, None, None)
    assert "adamss cannot run without weights" in found.reason


def test_settings_that_do_not_fit_are_errors() -> None:
    spec = spec_of({"method": "lora", "config": {"target_modules": ["nowhere"]}})
    with pytest.raises(ConfigError, match="nowhere"):
        predict_memory(spec, SHAPES["llama"], batches_of())


@pytest.mark.parametrize("method", ["full", "qaa"])
def test_a_model_of_a_billion_weights_takes_no_memory(method: str) -> None:
    """GPT-Neo 1.3B in float32 is 5 GB; nothing of it is made."""
    config = GPTNeoConfig(
        hidden_size=2048, num_layers=24, num_heads=16, attention_types=[[["global", "local"], 12]]
    )
    state = torch.random.get_rng_state()
    found = predict_memory(spec_of(method), config, batches_of(64, 2)).training
    assert found is not None
    trained = 1_315_575_808 if method == "full" else 1_180_176
    # QAA's gradients of W_up and b_up are made in one piece, of which one keeps a part and the other all.
    assert 4 * trained <= found.gradients <= (1 if method == "full" else 2) * 4 * trained
    assert found.optimizer == pytest.approx(8 * trained, rel=1e-3)
    # Its masks of causal attention are buffers beside the weights.
    assert found.weights >= 4 * 1_315_575_808
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["full", "lora", "qaa"])
def test_a_gpu_takes_what_is_predicted(method: str) -> None:
    config = GPTNeoConfig(
        hidden_size=512, num_layers=6, num_heads=8, attention_types=[[["global", "local"], 3]]
    )
    spec, batches = spec_of(method), batches_of(256, 8)
    predicted = predict_memory(spec, config, batches).training
    assert predicted is not None
    model = AutoModelForCausalLM.from_config(config).cuda()
    model = apply_method(model, find_method(method), "generation", {})
    torch.cuda.reset_peak_memory_stats()
    measure_training(model, spec, batches)
    assert torch.cuda.max_memory_allocated() == pytest.approx(predicted.peak, rel=0.15)
