"""A run by two processes from the command line: complete, failed, killed; no process stays behind."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from tests.study.tiny_models import study_values

PATIENCE = 120.0


def study_file(tiny: Path, folder: Path, **changes: Any) -> Path:
    path = folder / "study.yaml"
    values = study_values(tiny, processes_per_run=2, gpus_per_run=0, **changes)
    path.write_text(yaml.safe_dump(values))
    return path


def command(verb: str, study: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "amplitune", verb, str(study), "-o", str(study.parent / "out"), *options]


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def members(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes of the run, by rank."""
    found = []
    for child in psutil.Process(process.pid).children():
        words = child.cmdline()
        if "amplitune.study.running.distributed.member" in words:
            found.append((int(words[words.index("amplitune.study.running.distributed.member") + 1]), child))
    return [child for _, child in sorted(found, key=lambda pair: pair[0])]


def training(study: Path) -> Callable[[], bool]:
    path = study.parent / "out" / "runs" / "pairs" / "lora" / "seed-0.partial" / "progress.json"

    def begun() -> bool:
        return path.exists() and json.loads(path.read_text()).get("done", 0) > 2

    return begun


def test_a_study_runs_end_to_end(tiny: Path, tmp_path: Path) -> None:
    study = study_file(tiny, tmp_path, methods=["lora"], distributed="fsdp", threads=2)
    done = subprocess.run(command("compare", study), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
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


@pytest.mark.parametrize("victim", ["second", "starter"])
def test_no_process_stays_behind(tiny: Path, tmp_path: Path, victim: str) -> None:
    endless = {"max_steps": 10**6, "eval_steps": 10**6, "logging_steps": 10**5}
    study = study_file(tiny, tmp_path, methods=["lora"], training=endless)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command("train", study, "--method", "lora"), text=True, stdout=log, stderr=log
        )
    try:
        until(training(study), "it trains")
        group = members(process)
        assert len(group) == 2
        dies = group[1] if victim == "second" else psutil.Process(process.pid)
        dies.kill()
        code = process.wait(PATIENCE)
        until(lambda: not any(member.is_running() for member in group), "all end")
    finally:
        process.kill()
        process.wait()
    runs = tmp_path / "out" / "runs" / "pairs" / "lora"
    if victim == "starter":
        assert (runs / "seed-0.partial").is_dir()
        return
    assert code == 1
    status = json.loads((runs / "seed-0" / "status.json").read_text())
    assert status["status"] == "failed"
    assert "was killed by SIGKILL" in status["reason"]
    assert "(process 1 of the 2 of this run)" in status["reason"]


def test_what_a_process_raises_is_the_reason(tiny: Path, tmp_path: Path) -> None:
    study = study_file(tiny, tmp_path, methods=["full"], training={"learning_rate": 1e30, "logging_steps": 1})
    done = subprocess.run(
        command("train", study, "--method", "full"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    runs = tmp_path / "out" / "runs" / "pairs" / "full"
    reason = json.loads((runs / "seed-0" / "status.json").read_text())["reason"]
    assert "TrainingError: The validation loss must be finite, but is nan at step 1." in reason, done.stderr
