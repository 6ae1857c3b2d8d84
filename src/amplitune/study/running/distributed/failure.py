"""Why a process of a group has failed, as it tells the one that started it."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from torch.distributed import DistError

from amplitune.study.running.failures import explain

_COUNT = "failures"

_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""What errors say that come of a lost connection and have no class of their own."""


@dataclass(frozen=True)
class Failure:
    """The failure of a process.

    Args:
        rank: its number.
        reason: as the run's status gives it.
        symptom: whether it follows from the end of another process.
    """

    rank: int
    reason: str
    symptom: bool


def tell_failure(store: Any, rank: int, error: BaseException) -> None:
    """Say why this process fails.

    Args:
        store: what the processes share.
        rank: this one's number.
        error: what it raised.
    """
    lost = isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST)
    )
    number = store.add(_COUNT, 1)
    store.set(f"{_COUNT}/{number}", json.dumps(asdict(Failure(rank, explain(error), lost))))


def read_failures(store: Any) -> list[Failure]:
    """What processes have said of their failures, the first one first."""
    count = store.add(_COUNT, 0)
    keys = [f"{_COUNT}/{number}" for number in range(1, count + 1)]
    return [Failure(**json.loads(store.get(key))) for key in keys if store.check([key])]
