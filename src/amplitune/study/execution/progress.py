"""Progress of a study: live bars with the time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
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
        self._fractions: dict[str, float] = {}
        self._done = 0
        self._total = 0
        self._overall: TaskID | None = None
        self._began = time.monotonic()

    def begin(self, labels: Sequence[str], already: int) -> None:
        """A study begins: the units to come, and how many runs are there already."""
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
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._overall = self._bars.add_task("study", total=len(labels), phase=f"0/{len(labels)}")
            self._bars.start()

    def started(self, label: str) -> None:
        """A run's process has started."""
        self._fractions[label] = 0.0
        if self._bars is not None:
            self._rows[label] = self._bars.add_task(label, total=None, phase="starting")

    def update(self, label: str, state: Mapping[str, Any]) -> None:
        """What a run's folder says of its progress."""
        if not state:
            return
        if state["total"]:
            self._fractions[label] = state["done"] / state["total"]
        if self._bars is None:
            return
        self._count()
        counted = f" {state['done']}/{state['total']}" if state["total"] else ""
        self._bars.update(
            self._rows[label],
            completed=state["done"],
            total=state["total"] or None,
            phase=state["phase"] + counted,
        )

    def note(self, label: str, text: str) -> None:
        """Say something of a run that goes on."""
        self._console.print(f"{label}: {text}", markup=False, highlight=False, soft_wrap=True)

    def again(self, label: str, why: str) -> None:
        """A run that had started will start once more."""
        self._fractions.pop(label, None)
        if self._bars is not None:
            self._bars.remove_task(self._rows.pop(label))
        self.note(label, why)

    def finished(self, label: str, seconds: float, reason: str | None) -> None:
        """A run is over; `reason` says why it failed, if it did."""
        self._done += 1
        self._fractions.pop(label, None)
        outcome = f"failed: {reason}" if reason else "done"
        if self._bars is not None:
            self._bars.remove_task(self._rows.pop(label))
            self._count()
        self._console.print(
            f"[{self._done}/{self._total}] {label}: {outcome} in {_duration(seconds)}{self._left()}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def end(self) -> None:
        """No more runs will come."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _count(self) -> None:
        """Bring the bar of the whole study up to date."""
        assert self._bars is not None
        assert self._overall is not None
        self._bars.update(
            self._overall,
            completed=self._done + sum(self._fractions.values()),
            phase=f"{self._done}/{self._total}{self._left()}",
        )

    def _left(self) -> str:
        """How long until the last run ends, by the pace so far; nothing where there is no pace yet."""
        work = self._done + sum(self._fractions.values())
        if not 0 < work < self._total:
            return ""
        elapsed = time.monotonic() - self._began
        return f", about {_duration(elapsed / work * (self._total - work))} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
