"""A run by two processes from the command line: complete, failed, killed; no process stays behind."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tests.command_line import InProcess
from tests.study.tiny_models import study_values

from amplitune.commands import options

pytestmark = pytest.mark.slow

PATIENCE = 120.0


def study_file(tiny: Path, folder: Path, **changes: Any) -> Path:
    path = folder / "study.yaml"
    values = study_values(tiny, processes_per_run=2, gpus_per_run=0, **changes)
    path.write_text(yaml.safe_dump(values))
    return path


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def members(starter: int) -> list[psutil.Process]:
    """The processes of the run that a process has started, by rank."""
    found = []
    for child in psutil.Process(starter).children():
        words = child.cmdline()
        if "amplitune.study.running.distributed.member" in words:
            found.append((int(words[words.index("amplitune.study.running.distributed.member") + 1]), child))
    return [child for _, child in sorted(found, key=lambda pair: pair[0])]


def training(study: Path) -> Callable[[], bool]:
    path = study.parent / "out" / "runs" / "pairs" / "lora" / "seed-0.partial" / "progress.json"

    def begun() -> bool:
        return path.exists() and json.loads(path.read_text()).get("done", 0) > 2

    return begun


def test_a_study_runs_end_to_end(tiny: Path, tmp_path: Path, command: InProcess) -> None:
    study = study_file(tiny, tmp_path, methods=["lora"], distributed="fsdp", threads=2)
    code, _, stderr = command("compare", str(study), "-o", "out")
    assert code == options.DONE, stderr
    folder = tmp_path / "out" / "runs" / "pairs" / "lora" / "seed-0"
    assert json.loads((folder / "status.json").read_text())["status"] == "done"
    assert {path.name for path in folder.iterdir()} >= {
        *("adapter", "command.txt", "env.json", "log.txt", "metrics.jsonl", "predictions.jsonl"),
        *("run.resolved.yaml", "status.json"),
    }
    assert not list(folder.parent.glob("*.partial"))
    assert not list(folder.parent.glob(".*.lock"))
    steps = [json.loads(line).get("step") for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # Each point once: the first process alone writes.
    assert steps[:4] == [1, 2, 2, 3]
    assert "process 1" not in (folder / "log.txt").read_text()


def endless(tiny: Path, folder: Path) -> Path:
    training = {"max_steps": 10**6, "eval_steps": 10**6, "logging_steps": 10**5}
    return study_file(tiny, folder, methods=["lora"], training=training)


def test_a_process_that_is_killed_ends_the_others(tiny: Path, tmp_path: Path, command: InProcess) -> None:
    study, group = endless(tiny, tmp_path), list[psutil.Process]()

    def kill_the_second() -> None:
        try:
            until(training(study), "it trains")
        finally:
            group.extend(members(os.getpid()))
            group[1].kill()

    killer = threading.Thread(target=kill_the_second, daemon=True)
    killer.start()
    code, _, _ = command("train", str(study), "--method", "lora", "-o", "out")
    assert code == options.FAILED
    killer.join()
    assert len(group) == 2
    until(lambda: not any(member.is_running() for member in group), "all end")
    folder = tmp_path / "out" / "runs" / "pairs" / "lora" / "seed-0"
    status = json.loads((folder / "status.json").read_text())
    assert status["status"] == "failed"
    assert "was killed by SIGKILL" in status["reason"]
    assert "(process 1 of the 2 of this run)" in status["reason"]


def test_no_process_stays_behind_the_one_that_started_it(tiny: Path, tmp_path: Path) -> None:
    study = endless(tiny, tmp_path)
    arguments = ["train", str(study), "--method", "lora", "-o", str(tmp_path / "out")]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "amplitune", *arguments], text=True, stdout=log, stderr=log
        )
    try:
        until(training(study), "it trains")
        group = members(process.pid)
        assert len(group) == 2
        process.kill()
        process.wait(PATIENCE)
        until(lambda: not any(member.is_running() for member in group), "all end")
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "out" / "runs" / "pairs" / "lora" / "seed-0.partial").is_dir()


def test_what_a_process_raises_is_the_reason(tiny: Path, tmp_path: Path, command: InProcess) -> None:
    study = study_file(tiny, tmp_path, methods=["full"], training={"learning_rate": 1e30, "logging_steps": 1})
    code, _, stderr = command("train", str(study), "--method", "full", "-o", "out")
    assert code == options.FAILED
    runs = tmp_path / "out" / "runs" / "pairs" / "full"
    reason = json.loads((runs / "seed-0" / "status.json").read_text())["reason"]
    assert "TrainingError: The validation loss must be finite, but is nan at step 1." in reason, stderr
