"""Whether another process fits into the memory beside those in flight."""

from collections.abc import Sequence

PROCESS_BYTES = 700 * 2**20
"""Resident memory of a run's process without its tensors: measured 661 MiB with torch for CPUs and trl."""


def memory_of(tensor_bytes: int, processes: int = 1) -> int:
    """The most memory that a command will take, in bytes.

    Args:
        tensor_bytes: what the tensors of one of its processes take.
        processes: how many share its work; several are started by another one.
    """
    one = PROCESS_BYTES + tensor_bytes
    return one if processes == 1 else PROCESS_BYTES + processes * one


def admits(need: int, in_flight: Sequence[tuple[int, int]], available: int) -> bool:
    """Whether a process fits beside those in flight, once each of these has grown to its peak.

    Args:
        need: the most memory that it will take, in bytes.
        in_flight: for each process in flight, the most that it will take, and what it has now.
        available: memory that is available now.

    Returns:
        True also where nothing is in flight: it may be tried.

    Example:
        >>> admits(4, [(10, 3)], available=11)
        True
        >>> admits(4, [(10, 3)], available=10)
        False
    """
    if not in_flight:
        return True
    growth = sum(max(peak - resident, 0) for peak, resident in in_flight)
    return need + growth <= available
