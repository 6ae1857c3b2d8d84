"""A tuning's process that does what its method's name says, without a model: for tests of the execution."""

import os
import signal
import sys
from pathlib import Path


def main(chosen: str, content: str, behaviour: str, marker: str) -> None:
    """Write what was chosen, or fail."""
    with Path(marker).open("a") as file:
        file.write(f"tune-{behaviour} {os.getpid()}\n")
    if behaviour == "untunable":
        os.write(2, b"error: every trial failed. Look at their reasons.\n")
        sys.exit(1)
    path = Path(chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    if behaviour == "deadly" and not (path.parent / "trial-000").exists():
        trial = path.parent / "trial-000.partial"
        trial.mkdir(exist_ok=True)
        (trial / "run.resolved.yaml").write_text(Path(content).with_suffix(".yaml").read_text())
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text(Path(content).read_text())


if __name__ == "__main__":
    main(*sys.argv[1:])
