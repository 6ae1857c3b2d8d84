"""Which GPUs a worker sees."""

import math
import os
from collections.abc import Sequence


def visible_devices(count: int) -> tuple[str, ...]:
    """The ids of the GPUs that this process may use.

    Args:
        count: how many it sees.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = listed.split(",") if listed is not None else map(str, range(count))
    return tuple(ids)[:count]


def devices_of(slot: int, devices: Sequence[str], per_run: float) -> tuple[str, ...]:
    """The GPUs of one worker: they go round, so that no two workers share one while there are enough.

    Args:
        slot: the worker's place, from 0.
        devices: the ids of all GPUs.
        per_run: GPUs per run; a fraction lets several workers share one.

    Example:
        >>> [devices_of(slot, ["0", "1", "2"], 1) for slot in range(4)]
        [('0',), ('1',), ('2',), ('0',)]
        >>> [devices_of(slot, ["0", "1"], 0.5) for slot in range(4)]
        [('0',), ('0',), ('1',), ('1',)]
        >>> devices_of(1, ["0", "1", "2", "3"], 2)
        ('2', '3')
    """
    first, many = math.floor(slot * per_run), math.ceil(per_run)
    return tuple(devices[(first + offset) % len(devices)] for offset in range(min(many, len(devices))))
