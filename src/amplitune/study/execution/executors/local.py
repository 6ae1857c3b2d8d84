"""Processes on this machine, as many as its memory holds."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import psutil

from amplitune.study.execution.executors.admission import admits, memory_of
from amplitune.study.execution.executors.available_memory import available_memory
from amplitune.study.execution.executors.devices import devices_of
from amplitune.study.execution.executors.executor import Executor, Job, Request
from amplitune.study.execution.executors.forked import PREFIX, ForkedProcess, ForkServer

SECONDS_TO_END = 10.0
"""How long a process may take to end after SIGTERM, before it is killed."""


class LocalJob(Job):
    """A process of this machine.

    Args:
        process: the process, its standard input a pipe that is never written to (see `supervision`).
        slot: its place among the workers.
        need: the most memory that it will take, as predicted.
    """

    def __init__(self, process: "subprocess.Popen[bytes] | ForkedProcess", slot: int, need: int) -> None:
        self.process, self.slot, self.need = process, slot, need

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for its end."""
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if isinstance(self.process, subprocess.Popen) and self.process.stdin is not None:
            self.process.stdin.close()

    def resident(self) -> int:
        """The memory that it has now, with the processes that it has started, in bytes."""
        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.process.pid)
            for one in (process, *process.children(recursive=True)):
                total += int(one.memory_info().rss)
        return total


class LocalExecutor(Executor):
    """Runs commands as processes of this machine; on Linux without CUDA these are forks (see `forked`).

    Args:
        workers: the most processes at a time.
        devices: the ids of its GPUs, as CUDA_VISIBLE_DEVICES takes them; they go round among the workers.
        available: tells the memory that is available now, in bytes.
    """

    def __init__(
        self,
        workers: int,
        devices: Sequence[str] = (),
        available: Callable[[], int] = available_memory,
    ) -> None:
        self._workers, self._devices, self._available = workers, tuple(devices), available
        self._jobs: list[LocalJob] = []
        self._server: ForkServer | None = None

    def has_room(self, request: Request) -> bool:
        """Whether a worker is free, and memory for the peaks of all; the first process always has room."""
        self._forget_ended()
        if len(self._jobs) >= self._workers:
            return False
        in_flight = [(job.need, job.resident()) for job in self._jobs]
        return admits(self._need(request), in_flight, self._available())

    def start(self, request: Request) -> LocalJob:
        """Start the process."""
        self._forget_ended()
        taken = {job.slot for job in self._jobs}
        slot = next(number for number in range(len(taken) + 1) if number not in taken)
        job = LocalJob(self._process(request, slot), slot, self._need(request))
        self._jobs.append(job)
        return job

    def close(self) -> None:
        """End the server of forks."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _process(self, request: Request, slot: int) -> "subprocess.Popen[bytes] | ForkedProcess":
        # Elsewhere the system's own libraries may break in a fork.
        forks = sys.platform == "linux" and not self._devices
        if forks and request.command[: len(PREFIX)] == PREFIX:
            return self._server_for(request.environment).start(request.command, request.log)
        environment = {**os.environ, **request.environment}
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices_of(slot, self._devices, request.gpus))
        with request.log.open("ab") as output:
            return subprocess.Popen(
                request.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.PIPE,
                env=environment,
            )

    def _server_for(self, environment: Mapping[str, str]) -> ForkServer:
        """The server that commands with this environment are forked from; one that died is replaced."""
        server = self._server
        if server is None or not server.alive or server.environment != environment:
            self.close()
            server = self._server = ForkServer(environment)
        return server

    def _need(self, request: Request) -> int:
        # Tensors of a training on a GPU take none of the machine's own memory.
        tensors = 0 if self._devices and request.gpus else request.tensor_bytes
        return memory_of(tensors, request.processes)

    def _forget_ended(self) -> None:
        self._jobs = [job for job in self._jobs if job.process.poll() is None]
