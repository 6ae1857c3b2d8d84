"""One process of the group that does a run, from its start to its end."""

import os
import signal
import sys
import traceback
from pathlib import Path

import yaml
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined, unused-ignore]

from amplitune.study.data.tasks import load_task
from amplitune.study.execution.supervision import end_with_parent
from amplitune.study.running.checkpoints import newest
from amplitune.study.running.distributed import group
from amplitune.study.running.distributed.failure import tell_failure
from amplitune.study.running.distributed.processes import threads_of
from amplitune.study.running.run import carry_out
from amplitune.study.running.run_files import RunFiles
from amplitune.study.settings.config import RunSpec


def main(rank: int, size: int, port: int, folder: Path, age: float) -> int:
    """Do this process's part of a run.

    Args:
        rank: its number; 0 writes, evaluates and ends last.
        size: how many there are.
        port: where the process that started them keeps the store that they share.
        folder: of the run in flight, with its run.resolved.yaml.
        age: seconds that the run is in flight.

    Returns:
        The exit code.
    """
    end_with_parent()
    # An interrupt from the keyboard reaches all; the one that started them ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store = TCPStore("127.0.0.1", port, is_master=False)
    try:
        stored = yaml.safe_load((folder / "run.resolved.yaml").read_text(encoding="utf-8"))
        spec = RunSpec.parse(stored, "run.resolved.yaml")
        files = RunFiles(folder, writes=rank == 0, age=age)
        # Before the first process can write another one.
        files.checkpoint = newest(folder)
        group.join(PrefixStore("group", store), rank, size)
        carry_out(spec.model_copy(update={"threads": threads_of(spec)}), load_task(spec.task), files)
    except Exception as error:  # whatever went wrong is the run's result
        traceback.print_exc(file=sys.stderr)
        tell_failure(store, rank, error)
        return 1
    return 0


if __name__ == "__main__":
    RANK, SIZE, PORT, FOLDER, AGE = sys.argv[1:]
    CODE = main(int(RANK), int(SIZE), int(PORT), Path(FOLDER), float(AGE))
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: what the libraries of a broken group do at the end of a process can hang.
    os._exit(CODE)
