"""A study whose process is killed ten times at random moments ends with the table of one never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml
from tests.study.tiny_models import study_values

from amplitune.study.running.checkpoints import newest
from amplitune.study.running.run import run
from amplitune.study.running.rundir import read_progress
from amplitune.study.settings.study_file import load_study, to_yaml
from amplitune.study.stored.results import load_results

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "killing.py"

KILLS, EARLY = 10, 4
"""How often the study is killed, and how many of these before a run can have begun to train."""

STEPS = 200
TRAINING = {"max_steps": STEPS, "logging_steps": 4, "eval_steps": 50, "save_steps": 4, "learning_rate": 5e-3}
DROPOUT = {"config": {"lora_dropout": 0.2}}

TIMES = {"environment", "command", "peak_memory_bytes"}
"""Columns that may differ, with all whose name says that they measure time."""


def untimed(frame: pd.DataFrame) -> pd.DataFrame:
    timed = {column for column in frame.columns if "second" in str(column) or "joules" in str(column)}
    return frame.drop(columns=list(frame.columns.intersection([*TIMES, *timed])))


def steps_done(directory: Path) -> int:
    """Optimizer steps of the study's runs, as far as they say."""
    done = 0
    for folder in directory.glob("runs/*/*/seed-0*"):
        if folder.name == "seed-0":
            done += STEPS
        elif folder.is_dir():
            state = read_progress(folder)
            done += STEPS if state.get("phase") == "evaluating" else int(state.get("done", 0))
    return done


def resumable_steps(directory: Path) -> int:
    """Optimizer steps that need not be done again."""
    done = STEPS * len(list(directory.glob("runs/*/*/seed-0")))
    found = map(newest, directory.glob("runs/*/*/seed-0.partial"))
    return done + sum(checkpoint.step for checkpoint in found if checkpoint is not None)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())


class Killer:
    """Executes a study in a process that it can kill."""

    def __init__(self, study: Path, directory: Path, server: "subprocess.Popen[str]") -> None:
        self.study, self.directory, self.server = study, directory, server
        self.runs: set[int] = set()

    def begin(self) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{self.study}\t{self.directory}\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def end(self) -> int:
        assert self.server.stdout is not None
        return int(self.server.stdout.readline())

    def kill(self, pid: int) -> None:
        self.runs |= {process.pid for process in psutil.Process(pid).children(recursive=True)}
        os.kill(pid, signal.SIGKILL)
        assert self.end() == -signal.SIGKILL


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_ten_kills_at_random_moments_change_nothing(tiny: Path, tmp_path: Path) -> None:
    methods = [{"method": "lora", **DROPOUT}, {"method": "sora", **DROPOUT}]
    values = study_values(tiny, methods=methods, training=TRAINING, workers=2)
    values["tasks"][0]["kind"] = "generation"
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    study = load_study(path)

    never = tmp_path / "never"
    for spec in study.runs():
        assert run(spec, never, path)["reason"] is None
    (never / "study.resolved.yaml").write_text(to_yaml(study), encoding="utf-8")

    chance = random.Random(0)
    directory = tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        killer = Killer(path, directory, server)
        early = set(chance.sample(range(KILLS), EARLY))
        resumed = 0
        for number in range(KILLS):
            kept = resumable_steps(directory)
            resumed += kept > 0
            pid = killer.begin()
            if number in early:
                time.sleep(chance.uniform(0.0, 0.5))
            else:
                wanted = kept + chance.randint(1, 45)
                assert wait_for(lambda goal=wanted: steps_done(directory) >= goal, 120)
                time.sleep(chance.uniform(0.0, 0.1))
            assert alive(pid), "the study was done before it could be killed ten times"
            killer.kill(pid)
        killer.begin()
        assert killer.end() == 0
        assert server.stdin is not None
        server.stdin.close()
    assert resumed >= 5
    assert len(killer.runs) >= KILLS
    assert wait_for(lambda: not any(map(alive, killer.runs)), 60)

    expected, found = load_results(never), load_results(directory)
    assert list(found.table["status"]) == ["done", "done"]
    assert len(untimed(found.table).columns) > 15
    pd.testing.assert_frame_equal(untimed(found.table), untimed(expected.table))
    assert len(found.curves) == 2 * (STEPS // 4 + 4)
    pd.testing.assert_frame_equal(untimed(found.curves), untimed(expected.curves))
    pd.testing.assert_frame_equal(found.predictions, expected.predictions)
    assert {folder.name for folder in directory.glob("runs/*/*/*")} == {"seed-0"}
