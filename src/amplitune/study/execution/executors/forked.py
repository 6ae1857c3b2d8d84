"""Commands of amplitune as children of a process that has imported everything already."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PREFIX = (sys.executable, "-m", "amplitune")
"""How a command begins that a fork can do."""


class ForkedProcess:
    """A child of the server, with as much of the face of `subprocess.Popen` as its owner needs."""

    def __init__(self) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.began, self.ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        """The exit code, negative where a signal killed it; None while it runs."""
        return self.returncode if self.ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it has not come in time.
        """
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(PREFIX, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        self.began.wait()
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """Starts commands of amplitune without their imports.

    Args:
        environment: what is set over this process's environment; all its commands have the same.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "amplitune.study.execution.executors.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            # What a terminal sends is for whoever started the commands: it ends them in its own way.
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._code: int | None = None  # that the server ended with, once nobody listens to it any more
        self._to_begin: list[ForkedProcess] = []
        self._running: dict[int, ForkedProcess] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True, name="fork server")
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether it can take commands."""
        return self._server.poll() is None

    def start(self, command: Sequence[str], log: Path) -> ForkedProcess:
        """Start a command that begins with `PREFIX`; what it prints is appended to the log."""
        assert self._server.stdin is not None
        process = ForkedProcess()
        with self._lock:
            if self._code is not None:
                _end(process, self._code)
                return process
            self._to_begin.append(process)
        request = {"arguments": list(command[len(PREFIX) :]), "log": str(log.absolute())}
        with contextlib.suppress(BrokenPipeError):  # the listener ends what a dead server never began
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
        return process

    def close(self) -> None:
        """End the server, and with it whatever it has started."""
        assert self._server.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._server.stdin.close()
        self._server.wait()
        self._listener.join()

    def _listen(self) -> None:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            if not line.startswith(b"{"):
                continue  # printed while the package was imported
            message = json.loads(line)
            if "began" in message:
                process = self._to_begin.pop(0)
                process.pid = message["began"]
                self._running[process.pid] = process
                process.began.set()
            elif "refused" in message:
                _end(self._to_begin.pop(0), 1)
            else:
                _end(self._running.pop(message["ended"]), message["code"])
        # A server that was killed takes its children with it.
        with self._lock:
            self._code = self._server.wait() or 1
        for process in [*self._running.values(), *self._to_begin]:
            _end(process, self._code)


def _end(process: ForkedProcess, code: int) -> None:
    process.returncode = code
    process.ended.set()
    process.began.set()
