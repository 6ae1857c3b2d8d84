"""A run's process that does what its method's name says, without a model: for tests of the execution."""

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path


def grandparent() -> int:
    """The parent of this process's parent: of a Ray task, the node's own process."""
    try:
        return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def main(final: str, resolved: str, behaviour: str, marker: str) -> None:
    """Write a run's folder, and end as told."""
    partial = Path(f"{final}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "run.resolved.yaml").write_text(Path(resolved).read_text())
    (partial / "command.txt").write_text("the command\n")
    (partial / "metrics.jsonl").write_text('{"event": "train", "step": 1, "loss": 2.0}\n')
    (partial / "progress.json").write_text('{"phase": "training", "done": 1, "total": 2}')
    with Path(marker).open("a") as file:
        file.write(f"{Path(final).parent.name} {os.getpid()} {grandparent()}\n")

    if behaviour == "killed":
        os.write(1, b"step 1\n")
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "refused":
        os.write(2, b"error: `max_length` must be larger.\nRaise it.\n")
        sys.exit(2)
    elif behaviour == "endless":
        time.sleep(600)
    elif behaviour == "watched":
        # Ends when it is told to, or with the process that started it.
        threading.Thread(target=lambda: os._exit(len(os.read(0, 1)) + 1), daemon=True).start()
        deadline = time.monotonic() + 60
        while not Path(marker).with_name("go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    elif behaviour == "together":
        # Ends only once a second run has started beside it.
        deadline = time.monotonic() + 60
        while len(Path(marker).read_text().splitlines()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)

    failed = behaviour == "failed"
    (partial / "progress.json").unlink()
    (partial / "status.json").write_text(
        '{"status": "failed", "reason": "OutOfMemoryError: no memory", "seconds": 1}'
        if failed
        else '{"status": "done", "reason": null, "seconds": 1}'
    )
    os.write(1, b"the log\n")
    partial.rename(final)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
