"""What an executor does: it starts commands, says when they have ended, and stops them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """A command, and what it needs.

    Args:
        command: the interpreter and its arguments.
        log: the file to which what it prints is appended.
        environment: variables to set over those that are there.
        cpus: CPU cores.
        gpus: GPUs, where there are any.
        tensor_bytes: the most bytes that the tensors of one of its processes will take, as predicted; 0 where
            nobody knows.
        processes: how many processes it starts to share its work, itself not counted; 1 if it does it alone.
    """

    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: int = 1
    gpus: float = 0.0
    tensor_bytes: int = 0
    processes: int = 1


class LostJobError(Exception):
    """A command's machine or supervisor has gone, so nobody knows how it ended; it may be started again."""


class Job(ABC):
    """A command that was started."""

    @abstractmethod
    def poll(self) -> int | None:
        """Its exit code, negative where a signal killed it; None while it runs.

        Raises:
            LostJobError: nobody will ever know.
        """

    @abstractmethod
    def stop(self) -> None:
        """Tell it to end."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for its end, after `stop`."""


class Executor(ABC):
    """Starts commands and stops them with itself."""

    @abstractmethod
    def has_room(self, request: Request) -> bool:
        """Whether a command should be started now, beside those in flight."""

    @abstractmethod
    def start(self, request: Request) -> Job:
        """Start a command. It ends when the process that started it does, however that dies."""

    def close(self) -> None:  # noqa: B027  nothing to do for most
        """Give back what the executor holds."""
