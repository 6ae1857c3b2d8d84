"""Peak memory of training: allocated on a CUDA device, resident on a CPU."""

import contextlib
import resource
import sys
from pathlib import Path

import torch

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")

CUDA_ALLOCATED, RESIDENT = "cuda allocated", "resident"
"""The kinds of peak that there are."""


def reset_peak() -> None:
    """Begin a new measurement. On Linux the kernel's high-water mark of this process is reset."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        _CLEAR_REFS.write_text("5", encoding="ascii")


def read_peak() -> tuple[int, str]:
    """Peak memory since `reset_peak`, in bytes, and what kind it is.

    Returns:
        ("cuda allocated": torch's own peak) or ("resident": the whole process, interpreter and libraries
        included; where the mark cannot be reset, since the process began).
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(), CUDA_ALLOCATED
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024, RESIDENT
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024), RESIDENT


def read_reserved() -> int | None:
    """Peak memory since `reset_peak` that torch held of a CUDA device, its free blocks too; None on a CPU."""
    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None
