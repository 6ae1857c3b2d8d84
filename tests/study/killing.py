"""A process that has imported what a study needs, and forks one that executes it for each line it reads.

The study's own server of forks is forked too: it would import the same for seconds, after each kill again.
"""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from amplitune.study.execution.execute import execute
from amplitune.study.execution.executors import fork_server, forked
from amplitune.study.execution.progress import Progress
from amplitune.study.settings.study_file import load_study


class Server:
    """A fork in the place of the `subprocess.Popen` of a server of forks."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], **_: Any) -> None:
        assert command[-1] == fork_server.__name__
        requests, to_server = os.pipe()
        from_server, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.environ.update(env)
            os.dup2(requests, 0)
            os.dup2(answers, 1)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            fork_server.serve()
        os.close(requests)
        os.close(answers)
        self.stdin, self.stdout = os.fdopen(to_server, "wb"), os.fdopen(from_server, "rb")
        self._code: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._ended(os.WNOHANG)

    def wait(self) -> int:
        code = self._ended(0)
        assert code is not None
        return code

    def _ended(self, options: int) -> int | None:
        with self._lock:
            if self._code is None:
                pid, status = os.waitpid(self.pid, options)
                self._code = os.waitstatus_to_exitcode(status) if pid else None
            return self._code


def main() -> None:
    """Read lines of a study file and its folder; write the number of the process that executes it."""
    answers = os.dup(1)
    os.dup2(2, 1)
    fork_server._import_what_runs_need()
    vars(forked)["subprocess"] = SimpleNamespace(Popen=Server, PIPE=subprocess.PIPE)
    gc.freeze()
    for line in sys.stdin:
        study, directory = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid == 0:
            with (Path(directory).parent / "compare.txt").open("a") as said:
                execute(load_study(Path(study)), Path(directory), Progress(Console(file=said)))
            os._exit(0)
        os.write(answers, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
