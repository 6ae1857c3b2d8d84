"""The GPU benchmark: refused without CUDA, and its parts at tiny sizes on the CPU."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.kernels import used

from amplitune.errors import ConfigError
from amplitune.quantum import Circuit
from benchmarks import bandwidth, gpu, models

SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "tie_word_embeddings": True,
}

TINY = gpu.Sizes(
    widths=(8, 12),
    tokens=(4, 6),
    rounds=2,
    megabytes=0,
    simulator_widths=(),
    sweeps=(("tokens", (64, 128, 256)),),
    growth_fixed=(("d", 16), ("depth", 1), ("tokens", 4)),
    shapes=(("tiny", SHAPE),),
    batch=2,
    length=6,
)


def test_it_is_refused_without_cuda(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as raised:
        gpu.main(["-o", str(tmp_path / "gpu.json")])
    assert raised.value.code == 2
    assert "needs a CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


def test_every_part_runs_and_is_stored_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own test runs it; a process for each adapter takes long.
    monkeypatch.setattr("benchmarks.memory.probed_peak", lambda *arguments: 1)
    stored: list[int] = []
    parts = gpu.run(
        TINY, "cpu", "torch", 0, 1e9, lambda so_far: stored.append(sum(map(len, so_far.values())))
    )
    assert [row["failed"] for rows in parts.values() for row in rows if "failed" in row] == []
    counts = {name: len(rows) for name, rows in parts.items()}
    assert counts == {"layer": 8, "bandwidth": 4, "memory": 16, "models": 5, "growth": 1, "simulators": 0}
    assert stored == sorted(stored)
    assert stored[-1] == sum(counts.values())
    printed = gpu.report(parts)
    assert all(f"{name}\n| " in printed for name in gpu.PARTS)


def test_what_fails_or_comes_too_late_stays_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("benchmarks.layer.measure", fail)
    monkeypatch.setattr("benchmarks.memory.probed_peak", lambda *arguments: 1)
    sizes = replace(TINY, shapes=(), sweeps=())
    parts = gpu.run(sizes, "cpu", "torch", 0, 1e9, lambda so_far: None)
    assert {row["failed"] for row in parts["layer"]} == {"RuntimeError: no such kernel"}
    assert not any("failed" in row for row in parts["bandwidth"])
    assert "failed: RuntimeError: no such kernel" in gpu.report(parts)
    late = gpu.run(sizes, "cpu", "torch", 0, -1.0, lambda so_far: None)
    reasons = Counter(row["failed"].partition(":")[0] for rows in late.values() for row in rows)
    assert reasons == {"not begun": 8 + 4 + 2}


def test_models_are_trained_by_each_method_and_left_as_they_were() -> None:
    rows = models.measure(
        "tiny", shape=SHAPE, batch=2, length=6, rounds=2, steps=1, dtype=torch.float32, device="cpu"
    )
    trainable = {row["method"]: row["trainable"] for row in rows}
    assert list(trainable) == list(models.METHODS)
    # q_proj 16 -> 16 and v_proj 16 -> 8, two layers.
    assert trainable["LoRA r=8"] == 2 * 8 * (16 + 16 + 16 + 8)
    assert trainable["SoRA r=8"] == trainable["LoRA r=8"] + 2 * 2 * 8
    assert trainable["QAA"] == 2 * (2 * 4 + (4 + 1) * (16 + 8))
    assert trainable["prefix 20"] == 2 * 20 * 2 * 8
    # The second round found no adapter of the first: full fine-tuning still trains the bare model's weights.
    assert trainable["full"] == rows[0]["weights_bytes"] / 4
    assert all({"ratios", "peak_over_lora", "tokens_per_second"} <= row.keys() for row in rows)
    assert rows[0]["ratios"]["tokens_per_second_over_lora"].value == 1.0


def test_full_fine_tuning_that_does_not_fit_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.build(SHAPE, torch.bfloat16, "cpu")
    weights = sum(parameter.numel() for parameter in model.parameters()) * 2
    assert models.too_large(model, "cuda", free=4 * weights) is None
    reason = models.too_large(model, "cuda", free=3 * weights)
    assert reason is not None
    monkeypatch.setattr(models, "too_large", lambda base, device: reason)
    rows = models.measure("tiny", shape=SHAPE, methods=["LoRA r=8", "full"], length=4, rounds=1, device="cpu")
    assert ["skipped" in row for row in rows] == [False, True]
    assert "not run" in models.line(rows[1])[-1]  # type: ignore[operator]


def test_the_copy_moves_as_many_bytes_as_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    copy = torch.Tensor.copy_

    def counting(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        copied.append(target.nbytes + source.nbytes)
        return copy(target, source)

    monkeypatch.setattr(torch.Tensor, "copy_", counting)
    row = bandwidth.measure(64, 1, "float32", 2, device="cpu", kernel="torch")
    assert row["bytes"] == 2**20 + row["tokens"] * 6 * 4
    assert copied
    assert max(copied) == pytest.approx(row["bytes"], rel=1e-4)


def test_a_kernel_that_was_asked_for_is_named() -> None:
    assert used(Circuit(2), torch.randn(2, 4), "torch") == "torch"
    with pytest.raises(ConfigError, match="kernel"):
        used(Circuit(2), torch.randn(2, 4), "torhc")
