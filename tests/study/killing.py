"""A process that has imported what a study needs, and forks one that executes it for each line it reads."""

import os
import sys

from rich.console import Console

from amplitune.study.execution.execute import execute
from amplitune.study.execution.progress import Progress
from amplitune.study.settings.study_file import load_study


def main() -> None:
    """Read lines of a study file and its folder; write the number of the process that executes it."""
    from pathlib import Path

    for line in sys.stdin:
        study, directory = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid == 0:
            with (Path(directory).parent / "compare.txt").open("a") as said:
                execute(load_study(Path(study)), Path(directory), Progress(Console(file=said)))
            os._exit(0)
        os.write(1, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
