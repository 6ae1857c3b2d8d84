"""Executing beside others, and on a disk that is full: nothing collides, nothing stored is damaged."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tests.study.execution_bench import Bench, make_bench
from tests.study.tiny_models import run_spec

from amplitune.errors import TrainingError
from amplitune.study.execution import schedule
from amplitune.study.execution.progress import Progress
from amplitune.study.running.failures import FULL_DISK, LESS_MEMORY
from amplitune.study.running.run import run
from amplitune.study.running.rundir import RunDirectory
from amplitune.study.stored.results import load_results


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, monkeypatch)


class ByHand(Progress):
    """Somebody's own `amplitune train`, which ends when the study has done the run of `b`."""

    def __init__(self, bench: Bench, completes: bool) -> None:
        super().__init__(Console(file=bench.output, width=200))
        (spec,) = bench.study("a").runs()
        self.folder: RunDirectory | None = RunDirectory(bench.folder, spec, Path("study.yaml"))
        self.completes = completes

    def finished(self, label: str, seconds: float, reason: str | None) -> None:
        super().finished(label, seconds, reason)
        if " / b / " in label and self.folder is not None:
            if self.completes:
                self.folder.complete({"status": "done", "reason": None})
            self.folder = None


def test_a_run_that_is_done_by_hand_is_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "HELD_SECONDS", 0.0)
    assert bench.compare(bench.study("a", "b"), ByHand(bench, completes=True)) == ["b"]
    assert bench.statuses() == {"a": None, "b": None}
    said = bench.output.getvalue()
    assert said.count("pairs / a / seed 0: another process is doing it; waiting for that") == 1
    assert "[2/2] pairs / a / seed 0: done" in said


def test_a_run_that_was_given_up_by_hand_is_done(bench: Bench) -> None:
    assert bench.compare(bench.study("a", "b"), ByHand(bench, completes=False)) == ["b", "a"]
    assert bench.statuses() == {"a": None, "b": None}


def test_a_run_that_another_process_takes_first(bench: Bench) -> None:
    """The study has started its process when somebody else's gets the lock."""
    (spec,) = bench.study("refused").runs()
    holder: list[RunDirectory] = []

    class Late(Progress):
        def started(self, label: str) -> None:
            super().started(label)
            if not holder:
                holder.append(RunDirectory(bench.folder, spec, Path("study.yaml")))

        def again(self, label: str, why: str) -> None:
            super().again(label, why)
            holder[0].complete({"status": "done", "reason": None})

    progress = Late(Console(file=bench.output, width=200))
    assert bench.compare(bench.study("refused"), progress) == ["refused"]
    assert "another process has begun it" in bench.output.getvalue()
    assert bench.statuses() == {"refused": None}


class _FailedMeanwhile(Progress):
    """Fails to write as soon as two runs are in flight."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(Console(file=bench.output))
        self.bench = bench

    def update(self, label: str, state: Mapping[str, Any]) -> None:
        if len(self.bench.marker.read_text().splitlines()) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_so_full_that_no_reason_can_be_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.compare(bench.study("a"))
    before = bench.files()

    write = RunDirectory.write

    def refuse(self: RunDirectory, name: str, content: str | Mapping[str, Any]) -> None:
        if name == "status.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write", refuse)
        with pytest.raises(TrainingError) as caught:
            bench.compare(bench.study("a", "killed", "b"))
    assert "No space left on device" in str(caught.value)
    assert "the same command then goes on where it stopped" in str(caught.value)
    after = bench.files()
    assert all(after[name] == before[name] for name in before if name.startswith("runs/"))
    assert bench.statuses() == {"a": None}
    bench.behaviours["killed"] = "a"
    assert bench.compare(bench.study("a", "killed", "b")) == ["killed", "b"]
    assert bench.statuses() == {"a": None, "killed": None, "b": None}


def test_what_is_in_flight_on_a_full_disk_is_stopped(bench: Bench) -> None:
    bench.behaviours = {"b": "endless", "c": "endless"}
    with pytest.raises(TrainingError, match="No space left on device"):
        bench.compare(bench.study("b", "c", workers=2), _FailedMeanwhile(bench))
    pids = [int(line.split()[1]) for line in bench.marker.read_text().splitlines()]
    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to the device that is always full")
def test_a_run_on_a_full_disk_is_a_row(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say = RunDirectory.progress

    def progress(self: RunDirectory, phase: str, done: int = 0, total: int = 0) -> None:
        say(self, phase, done, total)
        if (phase, done) == ("training", 1):
            (self.path / "metrics.jsonl").symlink_to("/dev/full")

    monkeypatch.setattr(RunDirectory, "progress", progress)
    spec = run_spec(tiny, "lora")
    status = run(spec, tmp_path, Path("study.yaml"))
    assert status["reason"] == f"OSError: [Errno 28] No space left on device\n{FULL_DISK}"
    assert json.loads((tmp_path / spec.folder / "status.json").read_text()) == status


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_is_a_row_that_says_what_to_do(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr("transformers.Trainer.training_step", refuse)
    spec = run_spec(tiny, "lora")
    status = run(spec, tmp_path, Path("study.yaml"))
    assert status["status"] == "failed"
    assert status["reason"] == f"{type(error).__name__}: {error}\n{LESS_MEMORY}"
    (tmp_path / "study.resolved.yaml").write_text("tasks: []\nmethods: []\n")
    assert list(load_results(tmp_path).table["status"]) == ["failed"]
