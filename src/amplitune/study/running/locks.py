"""A lock that a process holds by an open file, so that it ends with the process however that dies."""

import fcntl
import os
import time
from io import TextIOWrapper
from pathlib import Path


class Lock:
    """A file that one process at a time holds.

    Args:
        path: the file; it and its folder are made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIOWrapper | None = None

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock; False if another holder has it, in this process or in another.

        Args:
            patience: seconds after which to give up; `is_held` holds a lock too, for an instant.
        """
        deadline = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _try(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = self.path.open("a", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
            # The holder before may have removed the file between the opening and the locking: then this
            # descriptor locks a file that nobody else will ever open.
            try:
                if os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                    self._file = file
                    return True
            except FileNotFoundError:
                pass
            file.close()

    @property
    def descriptor(self) -> int:
        """The open file that holds it: a child process that inherits this one holds it too."""
        assert self._file is not None, "the lock is not held"
        return self._file.fileno()

    def release(self, remove: bool = False) -> None:
        """Let go of the lock.

        Args:
            remove: remove the file too, which is safe only while the lock is held.
        """
        if self._file is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        self._file.close()
        self._file = None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of that file right now."""
    if not path.exists():
        return False
    lock = Lock(path)
    if not lock.acquire():
        return True
    lock.release()
    return False
