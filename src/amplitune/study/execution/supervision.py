"""Ending a run's process when the process that started it is gone, however that died."""

import os
import sys
import threading


def end_with_parent() -> None:
    """Watch standard input, a pipe that the parent holds open and never writes to; at its end, exit at once.

    A parent that is killed can tell nobody. The kernel closes its end of the pipe all the same.
    """

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
