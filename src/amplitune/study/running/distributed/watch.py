"""Watching the processes of a run, until all have ended or one has failed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from amplitune.study.running.distributed.failure import Failure, read_failures
from amplitune.study.running.failures import describe_death

POLL_SECONDS = 0.1

GRACE_SECONDS = 5.0
"""How long the others may take to end by themselves after one has failed, before they are killed."""


@dataclass
class Member:
    """A process of the group.

    Args:
        rank: its number.
        process: the process, its standard input a pipe that is never written to (see `supervision`).
        output: what it prints; None for the first one, which prints where this process does.
    """

    rank: int
    process: "subprocess.Popen[bytes]"
    output: IO[bytes] | None

    def close(self) -> None:
        """Close what connects this process with it, after its end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.output is not None:
            self.output.close()


def watch(members: Sequence[Member], store: Any) -> str | None:
    """Wait for the end of all processes; when one has failed, give the others a moment to end by themselves.

    Args:
        members: the processes, by rank.
        store: where they tell their failures.

    Returns:
        Why the first one failed; None if none did.
    """
    while True:
        codes = [member.process.poll() for member in members]
        if all(code == 0 for code in codes):
            return None
        if any(code not in (None, 0) for code in codes):
            break
        time.sleep(POLL_SECONDS)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(member.process.poll() is None for member in members) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    failures = read_failures(store)
    told = {failure.rank for failure in failures}
    for member in members:
        code = member.process.poll()
        if code not in (None, 0) and member.rank not in told:
            words = describe_death(code, Path(os.devnull))
            # A process that aborts may do so because it has lost another one.
            failures.append(Failure(member.rank, words, symptom=code == -signal.SIGABRT))
    failure = min(failures, key=lambda failure: failure.symptom)
    _print(members[failure.rank])
    return f"{failure.reason}\n(process {failure.rank} of the {len(members)} of this run)"


def _print(member: Member) -> None:
    """Print what a process that failed has printed."""
    if member.output is not None:
        member.output.seek(0)
        sys.stderr.write(f"process {member.rank} printed:\n")
        sys.stderr.flush()
        shutil.copyfileobj(member.output, sys.stderr.buffer)
        sys.stderr.flush()
