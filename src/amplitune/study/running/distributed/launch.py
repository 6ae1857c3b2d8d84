"""Starting the processes of a run, which end with it."""

import os
import socket
import subprocess
import sys
import tempfile

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined, unused-ignore]

from amplitune.study.running.distributed.processes import check_gpus, openmp, processes_of
from amplitune.study.running.distributed.shardable import check_shardable
from amplitune.study.running.distributed.watch import Member, watch
from amplitune.study.running.rundir import RunDirectory
from amplitune.study.settings.config import RunSpec

HOST = "127.0.0.1"


def launch(spec: RunSpec, folder: RunDirectory) -> str | None:
    """Do a run by several processes of this machine; they end with this one, however that dies.

    Args:
        spec: the run.
        folder: its folder, which the first process writes to.

    Returns:
        Why the run failed; None if it did not.

    Raises:
        ConfigError: there are fewer GPUs than processes, or the method cannot be trained in shards.
    """
    size = processes_of(spec)
    check_shardable(spec)
    check_gpus(size, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    members: list[Member] = []
    try:
        for rank in range(size):
            members.append(_start(rank, size, store.port, spec, folder))
        return watch(members, store)
    finally:
        for member in members:
            member.process.kill()
            member.process.wait()
            member.close()


def _start(rank: int, size: int, port: int, spec: RunSpec, folder: RunDirectory) -> Member:
    output = tempfile.TemporaryFile() if rank else None  # noqa: SIM115  read when it has ended
    environment = {
        "TOKENIZERS_PARALLELISM": "false",
        **_loopback(),
        **os.environ,
        **openmp(spec),
        # accelerate reads these.
        **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
        **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(size)),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
    }
    what = [str(rank), str(size), str(port), str(folder.path.absolute()), str(folder.age)]
    process = subprocess.Popen(
        [sys.executable, "-m", "amplitune.study.running.distributed.member", *what],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=environment,
        # The run stays locked as long as any of its processes lives.
        pass_fds=[folder.lock_descriptor],
    )
    return Member(rank, process, output)


def _loopback() -> dict[str, str]:
    """Let gloo talk through the machine itself; by default it goes where the host's name leads."""
    names = {name for _, name in socket.if_nameindex()}
    found = [name for name in ("lo", "lo0") if name in names]
    return {"GLOO_SOCKET_IFNAME": found[0]} if found else {}
