"""Two processes that join a process group and run a module of tests, each with its rank."""

import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import distributed

ROOT = Path(__file__).parents[3]


def run_pair(
    module: str, folder: Path, variables: Mapping[str, str] | None = None, timeout: float = 300
) -> None:
    """Run `python -m module folder` twice, with the environment that torchrun would set.

    Args:
        module: what to run.
        folder: where the processes write.
        variables: further variables of the environment.
        timeout: seconds that each may take.

    Raises:
        AssertionError: a process failed; with the end of what both have written.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    logs = [folder / f"{rank}.log" for rank in range(2)]
    processes = []
    for rank, path in enumerate(logs):
        environment = {
            **os.environ,
            **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
            **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2"),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            **(variables or {}),
        }
        command = [sys.executable, "-m", module, str(folder)]
        with path.open("wb") as log:
            processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
            )
    try:
        codes = [process.wait(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0, 0], "\n".join(path.read_text()[-4000:] for path in logs)


def report_and_leave(
    jobs: Mapping[str, Callable[[int, int], tuple[Any, Any, Any]]], folder: Path
) -> NoReturn:
    """Do each job in one of the two processes; the first writes its result, or why there is none.

    Args:
        jobs: name -> takes rank and number of processes, gives losses, trained parameters, SoRA's step.
        folder: where the results go, as <name>.pt.
    """
    rank, size = distributed.get_rank(), distributed.get_world_size()
    for name, job in jobs.items():
        result: dict[str, Any]
        try:
            losses, state, step = job(rank, size)
            mean = torch.tensor(losses, dtype=torch.float64)
            distributed.all_reduce(mean)
            result = {"losses": (mean / size).tolist(), "state": state, "sora_step": step}
        except Exception:
            result = {"error": traceback.format_exc()}
        if rank == 0:
            torch.save(result, folder / f"{name}.pt")
    sys.stdout.flush()
    # gloo's threads may wait for the interpreter.
    os._exit(0)
