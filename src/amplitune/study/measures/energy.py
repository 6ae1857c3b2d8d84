"""The energy that a device used while a block of code ran."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from amplitune.study.measures.energy_counters import EnergyCounter, find_counter

SECONDS_BETWEEN_READS = 60.0
"""A RAPL counter of 262 kJ wraps after 11 minutes at 400 W."""


class EnergyMeter:
    """Measures the energy of a with-block; of a training that was resumed, that of its parts together.

    What else runs on the same device is counted too, so runs beside each other disturb it.

    Args:
        counter: what to read; None for the device that torch computes on.
        seconds_between_reads: how often a counter that wraps is read meanwhile.

    Attributes:
        joules: the energy, after the block; None where the device does not report it.
        kind: which device it covers; None where there is no number.
    """

    def __init__(
        self, counter: EnergyCounter | None = None, seconds_between_reads: float = SECONDS_BETWEEN_READS
    ) -> None:
        """Find the counter."""
        self.joules: float | None = None
        self._before: float | None = 0.0
        self._counter = find_counter() if counter is None else counter
        self._began: float | None = None
        self._seconds_between_reads = seconds_between_reads
        self._ended = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def kind(self) -> str | None:
        """Which device the energy covers."""
        return self._counter.kind if self._counter is not None and self.joules is not None else None

    def __enter__(self) -> "EnergyMeter":
        """Begin."""
        if self._counter is not None:
            self._began = self._counter.read()
            if self._counter.wraps:
                self._watch = threading.Thread(target=self._keep_reading, args=(self._counter,), daemon=True)
                self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and take the difference."""
        if self._watch is not None:
            self._ended.set()
            self._watch.join()
        self.joules = self._so_far()

    def state_dict(self) -> dict[str, Any]:
        """The energy so far, for a checkpoint."""
        return {"joules": self._so_far()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; what was not measured then leaves the whole without a number."""
        self._before = state["joules"]

    def _so_far(self) -> float | None:
        now = self._counter.read() if self._counter is not None else None
        known = now is not None and self._began is not None and self._before is not None
        return now - self._began + self._before if known else None  # type: ignore[operator]

    def _keep_reading(self, counter: EnergyCounter) -> None:
        while not self._ended.wait(self._seconds_between_reads):
            counter.read()
