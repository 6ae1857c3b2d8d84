"""Starting the processes of a run, and ending all of them when one has failed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined, unused-ignore]

from amplitune.errors import ConfigError
from amplitune.study.config import RunSpec
from amplitune.study.distributed.failure import Failure, read_failures
from amplitune.study.distributed.processes import processes_of, threads_of
from amplitune.study.failures import describe_death
from amplitune.study.rundir import RunDirectory

POLL_SECONDS = 0.1

GRACE_SECONDS = 5.0
"""How long the others may take to end by themselves after one has failed, before they are killed."""

HOST = "127.0.0.1"


@dataclass
class _Member:
    """A process of the group.

    Args:
        rank: its number.
        process: the process, its standard input a pipe that is never written to (see `supervision`).
        output: what it prints; None for the first one, which prints where this process does.
    """

    rank: int
    process: "subprocess.Popen[bytes]"
    output: IO[bytes] | None


def launch(spec: RunSpec, folder: RunDirectory) -> str | None:
    """Do a run by several processes of this machine; they end with this one, however that dies.

    Args:
        spec: the run.
        folder: its folder, which the first process writes to.

    Returns:
        Why the run failed; None if it did not.

    Raises:
        ConfigError: there are fewer GPUs than processes.
    """
    size = processes_of(spec)
    check_gpus(size)
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    members: list[_Member] = []
    try:
        for rank in range(size):
            members.append(_start(rank, size, store.port, spec, folder))
        return _watch(members, store)
    finally:
        for member in members:
            member.process.kill()
            member.process.wait()


def check_gpus(size: int) -> None:
    """Refuse more processes than there are GPUs, on a machine that has any.

    Raises:
        ConfigError: there are too few.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else size
    if size > gpus:
        raise ConfigError(
            f"`processes_per_run` must be at most the {gpus} GPUs that a run has, but is {size}. "
            "Lower it (with more `training.gradient_accumulation_steps` for the same batches), or set "
            "gpus_per_run: 0 to train on the CPU."
        )


def _start(rank: int, size: int, port: int, spec: RunSpec, folder: RunDirectory) -> _Member:
    output = tempfile.TemporaryFile() if rank else None  # noqa: SIM115  read when it has ended
    environment = {
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads_of(spec)),
        **_loopback(),
        **os.environ,
        # accelerate reads these.
        **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(size)),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
    }
    what = [str(rank), str(size), str(port), str(folder.path.absolute()), str(folder.age)]
    process = subprocess.Popen(
        [sys.executable, "-m", "amplitune.study.distributed.member", *what],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=environment,
        # The run stays locked as long as any of its processes lives.
        pass_fds=[folder.lock_descriptor],
    )
    return _Member(rank, process, output)


def _loopback() -> dict[str, str]:
    """Let gloo talk through the machine itself; by default it goes where the host's name leads."""
    names = {name for _, name in socket.if_nameindex()}
    found = [name for name in ("lo", "lo0") if name in names]
    return {"GLOO_SOCKET_IFNAME": found[0]} if found else {}


def _watch(members: list[_Member], store: TCPStore) -> str | None:
    """Wait for the end of all processes, or for what follows the first failure."""
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


def _print(member: _Member) -> None:
    """Print what a process that failed has printed."""
    if member.output is not None:
        member.output.seek(0)
        sys.stderr.write(f"process {member.rank} printed:\n")
        sys.stderr.flush()
        shutil.copyfileobj(member.output, sys.stderr.buffer)
        sys.stderr.flush()
