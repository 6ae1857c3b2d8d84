"""The energy that all processes of a run have used."""

import torch

from amplitune.study.running.distributed import group


def joules_of_all(joules: float | None, resumed: bool) -> float | None:
    """The energy of a run, where each process counts its own GPU; every process asks for it.

    Args:
        joules: what this process has counted; None where its device does not report it. On a CPU each counts
            the whole machine.
        resumed: whether the run goes on from a checkpoint, which holds the first process's count alone.

    Returns:
        The sum over processes, None if it is not known.
    """
    if group.size() == 1 or not torch.cuda.is_available():
        return joules
    known = joules is not None and not resumed
    total, processes = group.total([joules if joules is not None and known else 0.0, float(known)])
    return total if processes == group.size() else None
