"""Watching a group of processes: which failure counts, and that it always ends."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import pytest
from torch.distributed import DistBackendError, TCPStore  # type: ignore[attr-defined, unused-ignore]

from amplitune.study.running.distributed import watch as watching
from amplitune.study.running.distributed.failure import tell_failure
from amplitune.study.running.distributed.launch import HOST
from amplitune.study.running.distributed.watch import Member, watch

SLEEP = "import time; time.sleep(60)"
KILLED = "import os; os.kill(os.getpid(), 9)"
ABORTED = "import os; os.abort()"


@pytest.fixture
def start() -> Iterator[Callable[..., list[Member]]]:
    members: list[Member] = []

    def _start(*codes: str) -> list[Member]:
        for rank, code in enumerate(codes):
            output = tempfile.TemporaryFile() if rank else None  # noqa: SIM115
            command = [sys.executable, "-S", "-c", code]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
            members.append(Member(rank, process, output))
        return members

    yield _start
    for member in members:
        member.process.kill()
        member.process.wait()
        member.close()


@pytest.fixture
def store() -> TCPStore:
    return TCPStore(HOST, 0, is_master=True, wait_for_workers=False)


def test_all_have_ended_well(start: Callable[..., list[Member]], store: TCPStore) -> None:
    assert watch(start("", "", ""), store) is None


def test_one_that_is_killed_ends_the_wait_for_the_others(
    start: Callable[..., list[Member]], store: TCPStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "GRACE_SECONDS", 0.3)
    reason = watch(start(SLEEP, KILLED), store)
    assert reason is not None
    assert "was killed by SIGKILL" in reason
    assert "(process 1 of the 2 of this run)" in reason


def test_the_cause_counts_and_not_what_follows_from_it(
    start: Callable[..., list[Member]], store: TCPStore
) -> None:
    tell_failure(store, 0, DistBackendError("NCCL communicator was aborted on rank 0."))
    tell_failure(store, 1, RuntimeError("[/pytorch/third_party/gloo/...] Connection closed by peer"))
    tell_failure(store, 2, ValueError("the cause"))
    tell_failure(store, 3, ValueError("another"))
    reason = watch(start(*["raise SystemExit(1)"] * 4), store)
    assert reason == "ValueError: the cause\n(process 2 of the 4 of this run)"


def test_a_signal_counts_before_a_lost_connection(
    start: Callable[..., list[Member]], store: TCPStore
) -> None:
    tell_failure(store, 0, RuntimeError("[/pytorch/third_party/gloo/...] Connection closed by peer"))
    assert "SIGKILL" in str(watch(start("raise SystemExit(1)", KILLED), store))


def test_an_abort_counts_after_a_reason(start: Callable[..., list[Member]], store: TCPStore) -> None:
    tell_failure(store, 1, ValueError("the cause"))
    assert "the cause" in str(watch(start(ABORTED, "raise SystemExit(1)"), store))


def test_an_exit_without_a_word_is_told_by_its_code(
    start: Callable[..., list[Member]], store: TCPStore, capfd: pytest.CaptureFixture[str]
) -> None:
    reason = str(watch(start("", "print('its last words'); raise SystemExit(7)"), store))
    assert "ended with exit code 7" in reason
    assert capfd.readouterr().err == "process 1 printed:\nits last words\n"
