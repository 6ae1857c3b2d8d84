"""Each benchmark at a tiny size: rows in its table, ratios and environment in its JSON, and no paths."""

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.rivals import RIVALS, Rival

from benchmarks import generation, growth, layer, memory, shared, simulators

Run = Callable[[Callable[[Sequence[str]], None], str], tuple[dict[str, Any], str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a benchmark's command in this process; its JSON and what it prints."""

    def call(main: Callable[[Sequence[str]], None], options: str) -> tuple[dict[str, Any], str]:
        path = tmp_path / "result.json"
        main([*options.split(), "-o", str(path)])
        return json.loads(path.read_text()), capsys.readouterr().out

    return call


def assert_describes_the_run(result: dict[str, Any], name: str) -> None:
    assert result["benchmark"] == name
    environment = result["environment"]
    assert {"cpu", "threads", "load", "date", "amplitune_commit", "packages"} <= environment.keys()
    assert environment["packages"]["torch"] == torch.__version__
    text = json.dumps(result)
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(Path(__file__).resolve().parents[2]) not in text


def test_layer(run: Run) -> None:
    result, printed = run(layer.main, "--d 12 32 --tokens 5 --rounds 3 --depth 2 --kernel torch")
    assert_describes_the_run(result, "layer")
    assert [(row["d"], row["kernel"], row["depth"]) for row in result["rows"]] == [
        (12, "torch", 2),
        (32, "torch", 2),
    ]
    for row in result["rows"]:
        assert set(row["ratios"]) == {
            "own_cost_over_lora",
            "own_cost_over_lora_identity_base",
            "qaa_over_base",
            "lora_over_base",
        }
        assert set(row["ratios"]["qaa_over_base"]) == {"value", "low", "high"}
        assert {len(rounds) for rounds in row["seconds"].values()} == {3}
        assert len(row["seconds"]) == 6
    assert len(printed.splitlines()) == 4


def test_shared(run: Run) -> None:
    result, printed = run(shared.main, "--d 12 --tokens 5 --rounds 3")
    assert_describes_the_run(result, "shared")
    assert [(row["d"], row["base"]) for row in result["rows"]] == [(12, "linear"), (12, "identity")]
    for row in result["rows"]:
        assert set(row["ratios"]) == {"each_over_lora", "one_over_lora", "one_over_each"}
        assert {case: len(rounds) for case, rounds in row["seconds"].items()} == {
            row["base"] + suffix: 3 for suffix in ("", "+lora", "+each", "+one")
        }
    assert len(printed.splitlines()) == 4
    layers = {name: torch.nn.Linear(6, 6) for name in shared.TARGETS}
    assert len(shared.adapted(layers, "one").q_proj.qaa_shared["default"].circuit.names) == 3  # type: ignore[union-attr,index]
    assert not shared.adapted(layers, "each").q_proj.qaa_shared  # type: ignore[union-attr]


def test_generation(run: Run) -> None:
    options = "--d 64 --tokens 2 --rounds 2 --layers 1 --targets q_proj k_proj --share-circuit"
    result, printed = run(generation.main, options)
    assert_describes_the_run(result, "generation")
    assert [(row["d"], row["dtype"]) for row in result["rows"]] == [(64, "float32"), (64, "bfloat16")]
    for row in result["rows"]:
        assert set(row["ratios"]) == {
            "added_to_a_layer",
            "added_to_a_token",
            "qaa_over_base",
            "lora_over_base",
        }
        assert {len(rounds) for rounds in row["seconds"].values()} == {2}
        assert len(row["seconds"]) == 6
    assert len(printed.splitlines()) == 4


def test_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([300, 100, 200, 80, 100, 90])
    monkeypatch.setattr(memory, "probed_peak", lambda *arguments: next(peaks))

    def main(argv: Sequence[str]) -> None:
        memory.main([*argv, "--adapters", "LoRA r=8", "QAA depth 4"])

    result, printed = run(main, "--d 64 --tokens 32 --rounds 3")
    assert_describes_the_run(result, "memory")
    lora, qaa = result["rows"]
    # LoRA keeps x and A x; the circuit keeps x and may keep its six readouts.
    assert lora["saved_bytes_per_token"] == 4 * (64 + 8)
    assert 4 * 64 <= qaa["saved_bytes_per_token"] <= 4 * (64 + 6)
    assert qaa["ratios"]["saved_over_lora"] == qaa["saved_bytes_per_token"] / (4 * (64 + 8))
    assert (lora["peak_bytes"], qaa["peak_bytes"], qaa["ratios"]["peak_over_lora"]) == (200, 90, 0.45)
    assert len(printed.splitlines()) == 4


def test_peak_memory_is_that_of_the_pass() -> None:
    size = 4 * 256 * 4096
    # The output, the gradient by x and the update's gradient on its way: at least two of the input's size.
    peak = memory.probed_peak("LoRA r=8", 256, 4096, "float32", "cpu", None)
    assert 2 * size < peak < 20 * size


def test_saved_bytes_count_each_storage_once_and_no_parameter() -> None:
    linear = torch.nn.Linear(4, 4, bias=False)
    x = torch.randn(8, 4, requires_grad=True)
    with memory.counting(linear) as count:
        y = linear(x)
        assert count() == x.nbytes
        product = y * y[:, :1]
        assert count() == x.nbytes + y.nbytes
    del product


def test_growth(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "FIXED", {"d": 64, "depth": 1, "tokens": 64})
    options = "--d 64 128 256 --depth 1 2 4 --tokens 64 128 256 --rounds 3 --kernel torch"
    result, printed = run(growth.main, options)
    assert_describes_the_run(result, "growth")
    assert [row["quantity"] for row in result["rows"]] == ["d", "depth", "tokens"]
    for row in result["rows"]:
        assert len(row["median_costs"]) == 3
        assert (
            "skipped" in row
            or {"exponent", "exponent_lora", "standard_error", "ratio_of_costs"} <= row.keys()
        )
    assert len(printed.splitlines()) == 5


def test_growth_wants_three_sizes(run: Run) -> None:
    with pytest.raises(SystemExit) as raised:
        run(growth.main, "--depth 1 2")
    assert raised.value.code == 2


def test_simulators(run: Run) -> None:
    pytest.importorskip("pennylane")
    options = "--d 5 --tokens 4 --rounds 2 --batches 3 --dtype float64 --kernel torch"
    result, printed = run(simulators.main, options)
    assert_describes_the_run(result, "simulators")
    assert [row["simulator"] for row in result["rows"]] == [rival.name for rival in RIVALS]
    compared = [row for row in result["rows"] if "skipped" not in row]
    assert len(compared) == sum(rival.installed for rival in RIVALS) >= 2
    for row in compared:
        assert row["error"] < (1e-6 if "lightning" in row["simulator"] else 1e-12)
        assert set(row["ratios"]) == {"same_batch", "per_token"}
    absent = [row for row in result["rows"] if "skipped" in row]
    assert all("pip install" in row["skipped"] for row in absent)
    assert printed.count("not installed") == len(absent)


def test_a_simulator_that_disagrees_is_not_timed() -> None:
    rival = Rival(
        name="wrong",
        module="torch",
        install="",
        batches=(2,),
        gives_dx=True,
        on_cuda=True,
        make=lambda n, double: lambda x, angles: 1.01 * simulators.engine(n)(x, angles),
        note="",
    )
    (row,) = simulators.measure(rival, 4, 2, tokens=2)
    assert "differs" in row["skipped"]
    assert "ratios" not in row


def test_a_result_is_never_overwritten_silently(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--d 4 --tokens 2 --rounds 1"
    first, _ = run(layer.main, options)
    with pytest.raises(SystemExit) as raised:
        run(layer.main, options)
    assert raised.value.code == 2
    assert "--overwrite" in capsys.readouterr().err
    second, _ = run(layer.main, f"{options} --overwrite")
    assert second["settings"] == first["settings"]


def test_cuda_is_refused_where_there_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as raised:
        run(layer.main, "--device cuda")
    assert raised.value.code == 2
