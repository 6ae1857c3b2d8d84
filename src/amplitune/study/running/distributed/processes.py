"""How many processes a run has, and what they share."""

import os

from amplitune.errors import ConfigError
from amplitune.study.methods.registry import find_method
from amplitune.study.settings.config import RunSpec, StudyConfig


def processes_of(spec: RunSpec) -> int:
    """How many processes train a run; one is enough where nothing is trained."""
    return 1 if find_method(spec.method.method).trains == "nothing" else spec.processes_per_run


def threads_of(spec: RunSpec) -> int | None:
    """CPU threads of each process of a run, which share those of the run; None where these are not set."""
    return None if spec.threads is None else max(1, spec.threads // processes_of(spec))


def openmp(spec: RunSpec) -> dict[str, str]:
    """The environment of each process of a run that says how many threads it has."""
    if (threads := threads_of(spec)) is None:
        if "OMP_NUM_THREADS" in os.environ:
            return {}
        # Torch's own choice is all cores, for each process.
        threads = max(1, (os.cpu_count() or 1) // processes_of(spec))
    return {"OMP_NUM_THREADS": str(threads)}


def gpus_of_run(study: StudyConfig) -> float:
    """GPUs that a run of a study takes where there are any: at least one for each of its processes.

    A study that sets `gpus_per_run: 0` trains on the CPU.
    """
    if study.processes_per_run == 1 or not study.gpus_per_run:
        return study.gpus_per_run
    return max(study.gpus_per_run, study.processes_per_run)


def check_gpus(processes: int, gpus: int) -> None:
    """Refuse more processes per run than there are GPUs, where there are any.

    Raises:
        ConfigError: there are too few.

    Example:
        >>> check_gpus(2, gpus=2)
        >>> check_gpus(2, gpus=0)
    """
    if 0 < gpus < processes:
        raise ConfigError(
            f"`processes_per_run` must be at most the number of GPUs, which is {gpus}, but is {processes}. "
            "Lower it (with more `training.gradient_accumulation_steps` for the same batches), or set "
            "gpus_per_run: 0 to train on the CPU."
        )
