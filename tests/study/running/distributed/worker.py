"""A process of a group that does several runs one after the other, so that tests pay for its start once."""

import gc
import os
import sys
from pathlib import Path

import yaml
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined, unused-ignore]

from amplitune.study.data.tasks import load_task
from amplitune.study.execution.supervision import end_with_parent
from amplitune.study.running.checkpoints import newest
from amplitune.study.running.distributed import group
from amplitune.study.running.run import carry_out
from amplitune.study.running.run_files import RunFiles
from amplitune.study.settings.config import RunSpec


class Killed(BaseException):
    """What stands for the end of a process: nothing catches it."""


class KilledFiles(RunFiles):
    """The files of a run that ends when it has trained some steps."""

    steps = 5

    def progress(self, phase: str, done: int = 0, total: int = 0) -> None:
        super().progress(phase, done, total)
        if (phase, done) == ("training", self.steps):
            raise Killed


def main(rank: int, size: int, port: int, jobs: list[str]) -> None:
    """Do each job, a run's folder with its settings; one that begins with "killed:" is left unfinished."""
    end_with_parent()
    # Each training begins with a garbage collection, which need not look at all that is imported.
    gc.freeze()
    store = TCPStore("127.0.0.1", port, is_master=False)
    for number, job in enumerate(jobs):
        folder = Path(job.removeprefix("killed:"))
        spec = RunSpec.parse(yaml.safe_load((folder / "run.resolved.yaml").read_text()))
        files = (KilledFiles if job.startswith("killed:") else RunFiles)(folder, writes=rank == 0)
        files.checkpoint = newest(folder)
        group.join(PrefixStore(f"group {number}", store), rank, size)
        try:
            carry_out(spec, load_task(spec.task), files)
        except Killed:
            group.leave()
        if rank == 0:
            (folder / "done").touch()


if __name__ == "__main__":
    RANK, SIZE, PORT, *JOBS = sys.argv[1:]
    main(int(RANK), int(SIZE), int(PORT), JOBS)
    os._exit(0)
