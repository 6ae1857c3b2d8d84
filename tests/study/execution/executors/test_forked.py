"""Forks of a process that has imported everything: their output, exit codes and ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import amplitune
from amplitune.study.execution.executors.executor import Request
from amplitune.study.execution.executors.forked import PREFIX, ForkedProcess, ForkServer
from amplitune.study.execution.executors.local import LocalExecutor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer({"OMP_NUM_THREADS": "1"})
    yield server
    server.close()


def waiting(server: ForkServer, folder: Path) -> ForkedProcess:
    """A command that lives until it is ended: it reads a study of more lines than it can parse in minutes."""
    study = folder / "study.yaml"
    study.write_text("- 1\n" * 5_000_000)
    process = server.start([*PREFIX, "tune", str(study), "--method", "x", "--supervised"], folder / "log")
    assert process.began.wait(60)
    return process


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_fork_does_the_command_and_appends_what_it_prints(server: ForkServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    assert server.start([*PREFIX, "--version"], log).wait(60) == 0
    assert log.read_text() == f"before\n{amplitune.__version__}\n"


def test_its_exit_code_and_message_are_the_command_s(server: ForkServer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = server.start([*PREFIX, "report", str(tmp_path)], log)
    assert process.wait(60) == process.poll() == 2
    assert log.read_text().startswith("error: `directory` must be the folder of a study")


def test_forks_run_beside_each_other_and_end_on_a_signal(server: ForkServer, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    processes = [waiting(server, folder) for folder in folders]
    time.sleep(0.5)
    assert [process.poll() for process in processes] == [None, None]
    for process, number in zip(processes, (signal.SIGTERM, signal.SIGKILL), strict=True):
        process.send_signal(number)
    assert [process.wait(60) for process in processes] == [-signal.SIGTERM, -signal.SIGKILL]


def test_forks_end_with_their_server_however_it_dies(tmp_path: Path) -> None:
    server = ForkServer({})
    process = waiting(server, tmp_path)
    os.kill(server._server.pid, signal.SIGKILL)
    assert process.wait(60) != 0
    assert gone(process.pid)
    assert not server.alive
    # What is started now ends too, and nobody waits for ever.
    assert server.start([*PREFIX, "--version"], tmp_path / "log").wait(10) != 0
    server.close()


def test_a_fork_that_the_system_refuses_is_said_and_the_server_goes_on(tmp_path: Path) -> None:
    code = """
import os
from amplitune.study.execution.executors import fork_server
def refuse():
    raise OSError(12, "Cannot allocate memory")
os.fork, fork_server._import_what_runs_need = refuse, lambda: None
fork_server.serve()
"""
    lines = "".join(json.dumps({"arguments": [], "log": str(tmp_path / name)}) + "\n" for name in "ab")
    done = subprocess.run([sys.executable, "-c", code], input=lines, capture_output=True, text=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(answer) for answer in answers] == [["refused"], ["refused"]]
    assert done.returncode == 0
    assert "Cannot allocate memory" in (tmp_path / "b").read_text()


def test_the_executor_forks_what_is_amplitune_s_own(tmp_path: Path) -> None:
    executor = LocalExecutor(1)
    request = Request((*PREFIX, "--version"), tmp_path / "log", {"OMP_NUM_THREADS": "1"})
    job = executor.start(request)
    assert isinstance(job.process, ForkedProcess)
    while job.poll() is None:
        time.sleep(0.02)
    job.wait()
    assert job.poll() == 0
    assert amplitune.__version__ in (tmp_path / "log").read_text()
    executor.close()
