"""Tasks of a Ray cluster, each of which runs a command as a process of its node."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amplitune.errors import ConfigError
from amplitune.study.execution.executors.admission import memory_of
from amplitune.study.execution.executors.executor import Executor, Job, LostJobError, Request
from amplitune.study.running.failures import LESS_MEMORY

SECONDS_TO_END = 10.0
"""How long a task may take to end after it was cancelled."""


class RayJob(Job):
    """A task of the cluster.

    Args:
        ray: the library.
        reference: the task's result to come: an exit code, or a node that does not see the folder.
        folder: the study's folder.
    """

    def __init__(self, ray: Any, reference: Any, folder: Path) -> None:
        self._ray, self._reference, self._folder = ray, reference, folder

    def poll(self) -> int | None:
        """Its exit code, None while it runs or waits for a node."""
        ready, _ = self._ray.wait([self._reference], timeout=0)
        if not ready:
            return None
        try:
            code = self._ray.get(self._reference)
        except self._ray.exceptions.RayError as error:
            kind, said = type(error).__name__, " ".join(str(error).split())
            hint = f" {LESS_MEMORY}" if kind == "OutOfMemoryError" else ""
            raise LostJobError(f"Its Ray task was lost ({kind}): {said[:300]}{hint}") from error
        if isinstance(code, str):
            raise LostJobError(
                f"The study's folder must be seen by every node of the Ray cluster, but {code} does not see "
                f"{self._folder}. Choose one on a shared file system with -o."
            )
        return int(code)

    def stop(self) -> None:
        """Kill the task's worker, whose process ends with it."""
        self._ray.cancel(self._reference, force=True)

    def wait(self) -> None:
        """Wait for its end."""
        self._ray.wait([self._reference], timeout=SECONDS_TO_END)


class RayExecutor(Executor):
    """Runs commands on a Ray cluster, as many at a time as it has CPUs, GPUs and memory for.

    Args:
        address: of the cluster; None for a running one, or else one on this machine.
        folder: the study's folder, which every node must see under this path.

    Raises:
        ConfigError: ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str | None, folder: Path) -> None:
        # Before the import: ray reports its use to its makers otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                "`executor: ray` needs Ray, which is not installed. Run pip install 'amplitune[ray]', or set "
                "executor: local."
            ) from error
        self._ray: Any = ray
        self._folder = folder.resolve()
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"`ray_address` must be the address of a running Ray cluster, but is {address!r}: "
                    f"{error}\nStart one with `ray start --head`, or leave `ray_address` unset for one on "
                    "this machine."
                ) from error
        self._task = ray.remote(max_retries=0)(_command_runner())

    def has_room(self, request: Request) -> bool:
        """Always: a task waits in the cluster until a node has room."""
        return True

    def start(self, request: Request) -> RayJob:
        """Hand the command to the cluster.

        Raises:
            ConfigError: it needs more CPUs than any node has.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cpus = max((node.get("CPU", 0) for node in nodes), default=0)
        if 0 < cpus < request.cpus:
            raise ConfigError(
                f"`threads` must be at most the {cpus:g} CPUs of the largest node of the Ray cluster, but is "
                f"{request.cpus}. Lower it."
            )
        # A task that asks for more than any node has would wait for ever.
        need = memory_of(request.tensor_bytes, request.processes)
        memory = min(need, max((node.get("memory", 0) for node in nodes), default=0))
        gpus = request.gpus if any(node.get("GPU", 0) for node in nodes) else 0
        task = self._task.options(num_cpus=request.cpus, num_gpus=gpus, memory=memory or None)
        reference = task.remote(
            list(request.command), str(request.log.absolute()), dict(request.environment), str(self._folder)
        )
        return RayJob(self._ray, reference, self._folder)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._ours:
            self._ray.shutdown()


def _command_runner() -> Callable[..., int | str]:
    """The function that a node runs; it travels whole from here, so that the worker imports no torch."""

    def run_command(command: list[str], log: str, environment: dict[str, str], folder: str) -> int | str:
        import os
        import socket
        import subprocess
        import sys

        if not os.path.isdir(folder) or not os.path.isdir(os.path.dirname(log)):  # noqa: PTH112, PTH120
            return socket.gethostname()
        with open(log, "ab") as output:  # noqa: PTH123
            # The worker holds the pipe open: the process ends with it.
            process = subprocess.Popen(
                [sys.executable, *command[1:]],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.PIPE,
                env={**os.environ, **environment},
            )
            return process.wait()

    return run_command
