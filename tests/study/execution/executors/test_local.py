"""Local processes: as many as memory holds, each with its GPUs, none left behind."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from amplitune.study.execution.executors.admission import PROCESS_BYTES, admits
from amplitune.study.execution.executors.devices import visible_devices
from amplitune.study.execution.executors.executor import Request
from amplitune.study.execution.executors.local import LocalExecutor, LocalJob

GIB = 2**30


def request(tmp_path: Path, code: str, tensor_bytes: int = 0, gpus: float = 0.0) -> Request:
    command = (sys.executable, "-S", "-c", code)
    return Request(command, tmp_path / "log.txt", {"WORD": "hello"}, gpus=gpus, tensor_bytes=tensor_bytes)


def stop(jobs: Sequence[LocalJob]) -> None:
    for job in jobs:
        job.stop()
    for job in jobs:
        job.wait()


def test_what_fits_beside_what_is_in_flight() -> None:
    assert admits(100, [], available=1)
    # What is in flight has taken its part of the memory already, and will take the rest.
    assert admits(4, [(10, 10), (5, 2)], available=7)
    assert not admits(5, [(10, 10), (5, 2)], available=7)
    # A process that is larger than predicted takes nothing from others by that.
    assert admits(7, [(10, 12)], available=7)


def test_a_process_starts_only_if_the_peaks_of_all_fit(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=3, available=lambda: 10 * GIB)
    small, large = (request(tmp_path, "input()", size * GIB) for size in (4, 9))
    jobs = [executor.start(large)]
    assert 0 < jobs[0].resident() < GIB
    assert not executor.has_room(small)
    stop(jobs)
    assert executor.has_room(large)
    jobs = [executor.start(small)]
    # 10 GiB hold two of 4 GiB with their processes, not three.
    assert executor.has_room(small)
    jobs.append(executor.start(small))
    assert PROCESS_BYTES < GIB
    assert not executor.has_room(small)
    stop(jobs)


def test_one_always_runs(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=2, available=lambda: 0)
    huge = request(tmp_path, "input()", 10**15)
    assert executor.has_room(huge)
    job = executor.start(huge)
    assert not executor.has_room(huge)
    stop([job])


def test_workers_are_the_most_at_a_time(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=2, available=lambda: 10**15)
    jobs = [executor.start(request(tmp_path, "input()")) for _ in range(2)]
    assert not executor.has_room(request(tmp_path, ""))
    stop(jobs)
    assert executor.has_room(request(tmp_path, ""))


def test_exit_codes_environment_and_log(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=1)
    (tmp_path / "log.txt").write_text("before\n")
    job = executor.start(request(tmp_path, "import os; print(os.environ['WORD'], flush=True); os._exit(7)"))
    job.wait()
    assert job.poll() == 7
    assert (tmp_path / "log.txt").read_text() == "before\nhello\n"
    job = executor.start(request(tmp_path, "input()"))
    assert job.poll() is None
    stop([job])
    assert job.poll() == -signal.SIGTERM
    assert job.resident() == 0


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amplitune.study.execution.executors.local.SECONDS_TO_END", 0.2)
    code = "import signal, time; signal.signal(15, 1); print('deaf', flush=True); time.sleep(600)"
    job = LocalExecutor(workers=1).start(request(tmp_path, code))
    while "deaf" not in (tmp_path / "log.txt").read_text():
        assert job.poll() is None
    stop([job])
    assert job.poll() == -signal.SIGKILL


def test_gpus_go_round_among_the_workers(tmp_path: Path) -> None:
    executor = LocalExecutor(workers=3, devices=("GPU-a", "GPU-b"), available=lambda: 10**15)
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); input()"

    def seen(gpus: float) -> tuple[LocalJob, str]:
        log = tmp_path / "log.txt"
        log.write_text("")
        job = executor.start(request(tmp_path, code, gpus=gpus))
        while not log.read_text().endswith("\n"):
            assert job.poll() is None
        return job, log.read_text().strip()

    first, second, third = (seen(1) for _ in range(3))
    assert [device for _, device in (first, second, third)] == ["GPU-a", "GPU-b", "GPU-a"]
    stop([second[0]])
    # The place of the one that ended is free again.
    again = seen(1)
    assert again[1] == "GPU-b"
    stop([first[0], third[0], again[0]])
    for gpus, devices in ((0, ""), (2, "GPU-a,GPU-b")):
        job, listed = seen(gpus)
        assert listed == devices
        stop([job])


def test_the_devices_that_this_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_devices(2) == ("3", "5")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_devices(2) == ("0", "1")
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None
