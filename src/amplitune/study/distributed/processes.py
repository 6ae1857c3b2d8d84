"""How many processes a run has, and what they share."""

import os

from amplitune.study.config import RunSpec, StudyConfig
from amplitune.study.methods import find_method


def processes_of(spec: RunSpec) -> int:
    """How many processes train a run; one is enough where nothing is trained."""
    return 1 if find_method(spec.method.method).trains == "nothing" else spec.processes_per_run


def threads_of(spec: RunSpec) -> int:
    """CPU threads of each process of a run, which share those of the run or else of the machine."""
    return max(1, (spec.threads or os.cpu_count() or 1) // processes_of(spec))


def gpus_of_run(study: StudyConfig) -> float:
    """GPUs that a run of a study takes where there are any: at least one for each of its processes.

    A study that sets `gpus_per_run: 0` trains on the CPU.
    """
    if study.processes_per_run == 1 or not study.gpus_per_run:
        return study.gpus_per_run
    return max(study.gpus_per_run, study.processes_per_run)
