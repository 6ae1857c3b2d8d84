"""A study that is interrupted: nothing is left running, and the same command completes it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.command_line import InProcess, environment, write_study
from tests.study.tiny_models import task_values

from amplitune.commands import options

pytestmark = pytest.mark.slow


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_ctrl_c_ends_the_study_and_the_next_compare_completes_it(
    tiny: Path, tmp_path: Path, command: InProcess
) -> None:
    write_study(tmp_path, tiny, methods=["base"], tasks=[task_values(tiny)])
    partial = tmp_path / "out" / "runs" / "pairs" / "base" / "seed-0.partial"
    arguments = [sys.executable, "-m", "amplitune", "compare", "study.yaml", "-o", "out"]
    for name, code in (("SIGTERM", -signal.SIGTERM), ("SIGINT", options.INTERRUPTED)):
        with subprocess.Popen(
            arguments,
            cwd=tmp_path,
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A shell lets its jobs in the background ignore Ctrl-C, and what they start inherits that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            assert wait_for(lambda p=process: children_of(p.pid))
            children = children_of(process.pid)
            if name == "SIGINT":
                # As a terminal does it: to every process of the group.
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            stderr = process.communicate(timeout=120)[1]
        assert process.returncode == code
        assert children
        assert wait_for(lambda pids=children: not any(map(alive, pids)))
        assert "Traceback" not in stderr
        if name == "SIGINT":
            assert "interrupted; the same command goes on where it stopped" in stderr
        assert not partial.with_name("seed-0").exists()
    finished, _, _ = command("compare", "study.yaml", "-o", "out")
    assert finished == options.DONE
    assert {path.name for path in partial.parent.iterdir()} == {"seed-0"}
