"""Reasons of failed runs: what happened, and what to do."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from amplitune.errors import TrainingError
from amplitune.study.running.failures import FULL_DISK, LESS_MEMORY, describe_death, explain


def test_memory_that_runs_out_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 58, dtype=torch.int8)
    errors = [caught.value, torch.OutOfMemoryError("CUDA out of memory."), MemoryError()]
    errors.append(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
    for error in errors:
        assert explain(error) == f"{type(error).__name__}: {error}\n{LESS_MEMORY}"


def test_a_full_disk_is_recognised() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert explain(error) == f"OSError: [Errno 28] No space left on device\n{FULL_DISK}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to the device that is always full")
def test_a_full_disk_is_recognised_whoever_writes() -> None:
    full = Path("/dev/full")

    def write_text() -> None:
        full.write_text("a" * 100_000)

    writers: list[Callable[[], object]] = [
        write_text,
        lambda: torch.save({"a": torch.ones(300_000)}, full),
    ]
    for write in writers:
        with pytest.raises(Exception) as caught:
            write()
        assert explain(caught.value).endswith(FULL_DISK), caught.value
    # In safetensors' words; it would replace the device by a file.
    error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert explain(error).endswith(FULL_DISK)


def test_other_errors_say_what_they_said() -> None:
    assert explain(TrainingError("Lower it.")) == "TrainingError: Lower it."
    assert explain(RuntimeError("shape mismatch")) == "RuntimeError: shape mismatch"


def test_deaths(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert describe_death(1, log) == "The run's process ended with exit code 1."
    log.write_text("step 1\nerror: `a` must be b.\nRaise it.\n")
    assert describe_death(2, log).endswith("exit code 2. It last printed: `a` must be b.\nRaise it.")
    log.write_text("step 1\n")
    killed = describe_death(-signal.SIGKILL, log)
    assert killed.startswith("The run's process was killed by SIGKILL (SIGKILL is what the kernel sends when")
    assert LESS_MEMORY in killed
    assert killed.endswith("It last printed: step 1")
    assert "full disk" in describe_death(-signal.SIGBUS, log)
    assert "SIGSEGV" in describe_death(-signal.SIGSEGV, log)
