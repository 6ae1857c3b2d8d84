"""The process that has imported everything once and forks a process for each command of amplitune.

A run of a small model takes less time than its imports. Forking is for machines without CUDA: a driver that
was asked for its devices before a fork cannot be used after it.
"""

import contextlib
import json
import os
import runpy
import select
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

POLL_SECONDS = 0.05


def serve() -> None:
    """Fork for each line of standard input, and tell on standard output how the children end.

    A line of input is {"arguments": [...], "log": path}; lines of output are {"began": pid} or, where there
    was no memory for a fork, {"refused": reason}, in the order of the input, and {"ended": pid, "code": exit
    code, negative for a signal}. At the end of the input the children lose the pipe that they watch (see
    `supervision`) and end. There is one thread besides jemalloc's, which sees to forks itself, so that a fork
    copies all there is.
    """
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints while it is imported is no answer
    _import_what_runs_need()
    # Python 3.12 and later count jemalloc's thread, and warn of it.
    warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
    held: dict[int, int] = {}  # child -> the end of its pipe that is open as long as this process lives
    unread = b""
    while True:
        if select.select([0], [], [], POLL_SECONDS)[0]:
            received = os.read(0, 65536)
            if not received:
                os._exit(0)
            *lines, unread = (unread + received).split(b"\n")
            for request in map(json.loads, lines):
                try:
                    pid, held_end = _fork(request, [answers, *held.values()])
                except OSError as error:  # the children that there are go on
                    _say(answers, {"refused": _refused(request, error)})
                    continue
                held[pid] = held_end
                _say(answers, {"began": pid})
        for pid in list(held):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                os.close(held.pop(pid))
                _say(answers, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _import_what_runs_need() -> None:
    import datasets  # noqa: F401
    import trl
    from transformers import Trainer  # noqa: F401

    from amplitune.study.running import run  # noqa: F401
    from amplitune.study.running.environment import commit
    from amplitune.study.tuning import job  # noqa: F401

    # These are imported on first use otherwise.
    _ = trl.SFTConfig, trl.SFTTrainer
    # As a child will: what `python -m amplitune` imports.
    with contextlib.suppress(SystemExit):
        runpy.run_module("amplitune", run_name="imported")
    commit()  # of what is imported now


def _fork(request: Mapping[str, Any], others: Sequence[int]) -> tuple[int, int]:
    """The child's number, and the end of its pipe that is to be held open."""
    read, write = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(read)
        os.close(write)
        raise
    if pid == 0:
        for end in (write, *others):
            os.close(end)
        _become(request["arguments"], request["log"], read)
    os.close(read)
    return pid, write


def _refused(request: Mapping[str, Any], error: OSError) -> str:
    """Why there is no child, which its log says too."""
    reason = f"no process could be forked: {error}"
    with contextlib.suppress(OSError), Path(request["log"]).open("a", encoding="utf-8") as log:
        log.write(f"error: {reason}\n")
    return reason


def _say(answers: int, message: Mapping[str, Any]) -> None:
    try:
        os.write(answers, (json.dumps(message) + "\n").encode())
    except BrokenPipeError:  # whoever started this process is gone, and so must be the children
        os._exit(0)


def _become(arguments: Sequence[str], log: str, standard_input: int) -> NoReturn:
    """Turn a fresh child into the command; its output goes to the log."""
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for number, file in enumerate((standard_input, output, output)):
            os.dup2(file, number)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.argv = ["amplitune", *arguments]
        runpy.run_module("amplitune", run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # a full disk takes no last words
            sys.stdout.flush()
            sys.stderr.flush()
        # The handlers that run at a process's end are those of the server.
        os._exit(code)


if __name__ == "__main__":
    serve()
