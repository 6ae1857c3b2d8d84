"""Executing a study: what is missing runs once, failures stay as rows, interruptions leave nothing behind."""

import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.execution_bench import Bench, make_bench

from amplitune.errors import ConfigError
from amplitune.study.execution import supervision, units
from amplitune.study.execution.execute import plan
from amplitune.study.execution.progress import Progress
from amplitune.study.settings.study_file import load_study
from amplitune.study.stored.results import load_results


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_bench(tmp_path, monkeypatch)


def test_a_run_is_a_process_of_the_command_line(tmp_path: Path) -> None:
    spec = Bench(tmp_path).study("a", seeds=[3]).runs()[0]
    assert units.run_command(spec, tmp_path) == (
        *(sys.executable, "-m", "amplitune", "train", str(tmp_path / "study.resolved.yaml")),
        *("--task", "pairs", "--method", "a", "--seed", "3", "-o", str(tmp_path), "--supervised"),
    )
    assert units.tune_command(spec, tmp_path) == (
        *(sys.executable, "-m", "amplitune", "tune", str(tmp_path / "study.resolved.yaml")),
        *("--task", "pairs", "--method", "a", "-o", str(tmp_path), "--supervised"),
    )


def test_every_run_is_done_once_and_nothing_is_repeated(bench: Bench) -> None:
    study = bench.study("a", "b", seeds=[0, 1])
    assert bench.compare(study) == ["a", "b", "a", "b"]
    assert load_study(bench.folder / "study.resolved.yaml") == study
    assert {path.name for path in bench.run("a").iterdir()} == {
        *("run.resolved.yaml", "command.txt", "metrics.jsonl", "status.json", "log.txt")
    }
    assert bench.run("b", 1).joinpath("log.txt").read_text() == "the log\n"
    before = bench.files()
    assert bench.compare(study) == []
    after = bench.files()
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {"study.resolved.yaml"}
    assert "Nothing is missing." in bench.output.getvalue()


def test_only_what_is_missing_runs(bench: Bench) -> None:
    bench.compare(bench.study("a", "b"))
    shutil.rmtree(bench.run("b"))
    before = bench.files()
    assert bench.compare(bench.study("a", "b")) == ["b"]
    assert bench.compare(bench.study("a", "b", "c", seeds=[0, 7])) == ["c", "a", "b", "c"]
    after = bench.files()
    assert all(after[name] == before[name] for name in before if name.startswith("runs/pairs/a/seed-0"))
    assert len(load_results(bench.folder).table) == 6


def test_other_settings_are_refused_and_nothing_is_touched(bench: Bench) -> None:
    bench.compare(bench.study("a", "b"))
    before = bench.files()
    with pytest.raises(ConfigError) as caught:
        bench.compare(bench.study("a", "b", "c", training={"learning_rate": 0.5}))
    assert str(bench.run("a")) in str(caught.value)
    assert "`training.learning_rate` differ" in str(caught.value)
    assert bench.files() == before
    # What decides no number may change.
    assert bench.compare(bench.study("a", "b", threads=2, save_adapters=False, description="new")) == []


def test_a_failed_run_is_a_row_and_the_rest_goes_on(bench: Bench) -> None:
    assert bench.compare(bench.study("failed", "killed", "refused", "a")) == [
        *("failed", "killed", "refused", "a"),
    ]
    reasons = bench.statuses()
    assert reasons["a"] is None
    assert reasons["failed"] == "OutOfMemoryError: no memory"
    killed = str(reasons["killed"])
    assert "killed by SIGKILL (SIGKILL is what the kernel sends when memory runs out)" in killed
    assert killed.endswith("It last printed: step 1")
    refused = str(reasons["refused"])
    assert "ended with exit code 2" in refused
    assert refused.endswith("It last printed: `max_length` must be larger.\nRaise it.")
    # What the killed process had written is kept.
    assert {path.name for path in bench.run("killed").iterdir()} == {
        *("run.resolved.yaml", "command.txt", "metrics.jsonl", "status.json", "log.txt")
    }
    assert list(load_results(bench.folder).table["command"][:3]) == ["the command"] * 3
    assert len(load_results(bench.folder).curves) == 4
    # It is not tried again by itself.
    assert bench.compare(bench.study("failed", "killed", "refused", "a")) == []


def test_a_process_that_never_began_has_a_command_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        units, "run_command", lambda *_: [sys.executable, "-S", "-c", "raise SystemExit('no library')"]
    )
    bench.compare(bench.study("a"))
    (row,) = load_results(bench.folder).table.to_dict("records")
    assert row["reason"] == "The run's process ended with exit code 1. It last printed: no library"
    assert str(row["command"]).startswith("amplitune train ")


def test_failed_runs_are_retried_on_demand_and_kept_aside(bench: Bench) -> None:
    bench.compare(bench.study("failed", "a"))
    for attempt in (1, 2):
        # Other settings may be the remedy.
        study = bench.study("failed", "a").model_copy()
        assert bench.compare(study, retry_failed=True) == ["failed"]
        aside = bench.run("failed").with_name(f"seed-0.failed-{attempt}")
        assert (aside / "log.txt").exists()
    bench.behaviours["failed"] = "a"
    assert bench.compare(bench.study("failed", "a"), retry_failed=True) == ["failed"]
    assert bench.statuses() == {"failed": None, "a": None}
    assert bench.compare(bench.study("failed", "a"), retry_failed=True) == []


def test_a_retry_may_have_other_settings(bench: Bench) -> None:
    bench.compare(bench.study("failed"))
    other = bench.study("failed", training={"learning_rate": 0.5})
    with pytest.raises(ConfigError, match="other settings"):
        plan(other, bench.folder)
    assert plan(other, bench.folder, retry_failed=True) == other.runs()


def test_a_stored_run_that_cannot_be_read(bench: Bench) -> None:
    bench.compare(bench.study("a"))
    (bench.run("a") / "run.resolved.yaml").unlink()
    with pytest.raises(ConfigError, match=r"run\.resolved\.yaml cannot be read"):
        bench.compare(bench.study("a"))


def test_a_folder_is_used_by_one_compare_at_a_time(bench: Bench) -> None:
    bench.folder.mkdir()
    with (bench.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="one `amplitune compare` at a time"):
            bench.compare(bench.study("a"))
    assert bench.compare(bench.study("a")) == ["a"]


def test_an_output_folder_that_cannot_be_made(bench: Bench) -> None:
    bench.folder.write_text("a file")
    with pytest.raises(ConfigError, match="`--output`"):
        bench.compare(bench.study("a"))


def test_workers_run_at_the_same_time(bench: Bench) -> None:
    bench.behaviours = {"a": "together", "b": "together"}
    assert sorted(bench.compare(bench.study("a", "b", workers=2))) == ["a", "b"]
    assert bench.statuses() == {"a": None, "b": None}


class _Interrupted(Progress):
    """Presses Ctrl-C as soon as the run of `b` says how far it is."""

    def update(self, label: str, state: Mapping[str, Any]) -> None:
        if state and " / b / " in label:
            raise KeyboardInterrupt


def test_an_interruption_ends_the_runs_and_the_next_compare_completes(bench: Bench) -> None:
    bench.behaviours["b"] = "endless"
    study = bench.study("a", "b", "c")
    with pytest.raises(KeyboardInterrupt):
        bench.compare(study, _Interrupted(Console(file=io.StringIO())))
    name, pid, _ = bench.marker.read_text().splitlines()[-1].split()
    assert name == "b"
    assert gone(int(pid))
    assert bench.statuses() == {"a": None}
    bench.behaviours["b"] = "b"
    assert bench.compare(study) == ["b", "c"]
    assert bench.statuses() == {"a": None, "b": None, "c": None}
    assert not list(bench.folder.rglob("*.partial"))
    assert not list(bench.folder.rglob("seed-*.log"))


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has: nobody may be there to collect it)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# SIGHUP is ignored in whatever nohup has started.
PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
child = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]], stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""

CHILD = f"""
import runpy, time
runpy.run_path({supervision.__file__!r})["end_with_parent"]()
time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGHUP"])
def test_a_run_ends_with_the_process_that_started_it(name: str) -> None:
    command = [sys.executable, "-S", "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert not gone(pid)
        os.kill(parent.pid, signal.Signals[name])
        parent.wait(timeout=60)
    assert wait_for(lambda: gone(pid))
