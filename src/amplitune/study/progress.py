"""Progress of a study: live bars with the time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Tells how far a study is.

    Args:
        console: where to write (standard error, so that standard output stays free for data).
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._rows: dict[str, TaskID] = {}
        self._seconds: list[float] = []
        self._total = 0
        self._overall: TaskID | None = None
        self._began = time.monotonic()

    def begin(self, labels: Sequence[str], already: int) -> None:
        """A study begins: the runs to come, and how many are there already."""
        self._total, self._began = len(labels), time.monotonic()
        if already:
            self._console.print(f"{already} run(s) are there already and are kept.")
        if not labels:
            self._console.print("Nothing is missing.")
        elif self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[phase]}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._overall = self._bars.add_task("study", total=len(labels), phase=f"0/{len(labels)}")
            self._bars.start()

    def started(self, label: str) -> None:
        """A run's process has started."""
        if self._bars is not None:
            self._rows[label] = self._bars.add_task(label, total=None, phase="starting")

    def update(self, label: str, state: Mapping[str, Any]) -> None:
        """What a run's folder says of its progress."""
        if self._bars is None or not state:
            return
        counted = f" {state['done']}/{state['total']}" if state["total"] else ""
        self._bars.update(
            self._rows[label],
            completed=state["done"],
            total=state["total"] or None,
            phase=state["phase"] + counted,
        )

    def finished(self, label: str, seconds: float, reason: str | None) -> None:
        """A run is over; `reason` says why it failed, if it did."""
        self._seconds.append(seconds)
        done = len(self._seconds)
        outcome = f"failed: {reason}" if reason else "done"
        left = f", about {_duration(self._left())} left" if done < self._total else ""
        if self._bars is not None:
            self._bars.remove_task(self._rows.pop(label))
            assert self._overall is not None
            self._bars.update(self._overall, completed=done, phase=f"{done}/{self._total}{left}")
        self._console.print(
            f"[{done}/{self._total}] {label}: {outcome} in {_duration(seconds)}{left}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def end(self) -> None:
        """No more runs will come."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _left(self) -> float:
        """Seconds until the last run ends, by the pace of the runs so far."""
        elapsed = time.monotonic() - self._began
        return elapsed / len(self._seconds) * (self._total - len(self._seconds))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
