"""The order of a study's execution: units start as there is room, and end as rows of the results."""

import contextlib
import math
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from amplitune.errors import ConfigError
from amplitune.study.execution.executors.executor import Executor, Job, LostJobError, Request
from amplitune.study.execution.progress import Progress
from amplitune.study.execution.units import RESOLVED, Unit
from amplitune.study.running.distributed.processes import processes_of
from amplitune.study.running.failures import describe_death
from amplitune.study.running.locks import is_held
from amplitune.study.running.rundir import RunDirectory, lock_file, read_progress
from amplitune.study.settings.config import RunSpec
from amplitune.study.stored.stored_run import read_status
from amplitune.study.tuning.chosen import tuned
from amplitune.study.tuning.give_up import give_up_trial, trial_in_flight

POLL_SECONDS = 0.2

ATTEMPTS = 2
"""How often a unit whose machine goes away, or a trial that kills its process, starts before it failed."""

REFUSED = 2
"""Exit code of a process that began nothing, such as one that found its run held by another."""

HELD_SECONDS = 2.0
"""How long another process may hold a run before that is said."""

LET_GO_SECONDS = 10.0
"""How long what a dead process left running may hold its run."""


@dataclass
class _Flight:
    """A unit in flight."""

    unit: Unit
    job: Job
    began: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Schedule:
    """Executes the units of a study.

    Args:
        directory: the study's folder.
        executor: starts their processes.
        progress: is told of each unit.
        gpus: GPUs per run.
        tensor_bytes: label of a run -> the most bytes its tensors will take, as far as that is known.
    """

    def __init__(
        self,
        directory: Path,
        executor: Executor,
        progress: Progress,
        gpus: float = 0.0,
        tensor_bytes: Mapping[str, int] | None = None,
    ) -> None:
        self._directory, self._executor, self._progress = directory, executor, progress
        self._gpus, self._tensor_bytes = gpus, tensor_bytes or {}
        self._waiting: list[Unit] = []
        self._in_flight: list[_Flight] = []
        self._retried: set[str] = set()
        self._lost: Counter[str] = Counter()
        self._killed: Counter[Path] = Counter()
        self._held_since: dict[str, float] = {}

    def run(self, units: Sequence[Unit]) -> None:
        """Execute units until none is left.

        Args:
            units: in the order in which they should start; a unit that is complete already is done again.

        Raises:
            OSError: the study's folder takes no more; what is in flight has been stopped.
        """
        self._waiting = list(units)
        self._retried = {unit.label for unit in units if unit.complete.exists()}
        try:
            while self._waiting or self._in_flight:
                self._start()
                time.sleep(POLL_SECONDS)
                for flight in list(self._in_flight):
                    self._look_at(flight)
        finally:
            for flight in self._in_flight:
                flight.job.stop()
            for flight in self._in_flight:
                flight.job.wait()
                # Some may have ended by themselves since they were last looked at.
                with contextlib.suppress(OSError):
                    _keep_log(flight.unit)

    def _start(self) -> None:
        """Start what there is room for."""
        for unit in list(self._waiting):
            still = {other.label for other in (*self._waiting, *(flight.unit for flight in self._in_flight))}
            if still.intersection(unit.needs):
                continue
            if is_held(unit.lock):
                self._say_that_it_is_held(unit)
                continue
            if unit.complete.exists() and unit.label not in self._retried:
                # That other process has done it, or the tuning that it needs has failed.
                self._waiting.remove(unit)
                self._progress.started(unit.label)
                self._progress.finished(unit.label, 0.0, _failure(unit))
                continue
            request = self._request(unit)
            if not self._executor.has_room(request):
                break
            self._waiting.remove(unit)
            self._set_aside(unit)
            for folder in (unit.complete.parent, unit.log.parent):
                folder.mkdir(parents=True, exist_ok=True)
            self._in_flight.append(_Flight(unit, self._executor.start(request), time.monotonic()))
            self._progress.started(unit.label)

    def _say_that_it_is_held(self, unit: Unit) -> None:
        """Once, and not of what a killed study leaves for an instant."""
        since = self._held_since.setdefault(unit.label, time.monotonic())
        if time.monotonic() - since > HELD_SECONDS:
            self._held_since[unit.label] = math.inf
            self._progress.note(unit.label, "another process is doing it; waiting for that")

    def _request(self, unit: Unit) -> Request:
        spec = unit.runs[0]
        environment = {"TOKENIZERS_PARALLELISM": "false"}
        if spec.threads is not None:
            environment["OMP_NUM_THREADS"] = str(spec.threads)
        return Request(
            command=unit.command,
            log=unit.log,
            environment=environment,
            cpus=spec.threads or processes_of(spec),
            gpus=self._gpus,
            tensor_bytes=max(self._tensor_bytes.get(run.label, 0) for run in unit.runs),
            processes=processes_of(spec),
        )

    def _look_at(self, flight: _Flight) -> None:
        """See how far a unit in flight is, and end it if its process has ended."""
        unit = flight.unit
        try:
            code = flight.job.poll()
        except LostJobError as lost:
            self._in_flight.remove(flight)
            self._lost[unit.label] += 1
            if unit.complete.exists():
                self._finish(flight, None)
            elif self._lost[unit.label] < ATTEMPTS:
                self._again(unit, f"{lost} It starts again")
            else:
                self._finish(flight, str(lost))
            return
        if code is None:
            self._progress.update(unit.label, read_progress(unit.working))
            return
        self._in_flight.remove(flight)
        flight.job.wait()
        if unit.complete.exists():
            self._finish(flight, None)
        elif code == REFUSED and is_held(unit.lock):
            self._held_since[unit.label] = math.inf
            self._again(unit, "another process has begun it; waiting for that")
        elif not (unit.kind == "tuning" and code == -signal.SIGKILL and self._tunes_on(unit)):
            self._finish(flight, describe_death(code, unit.log, unit.kind))

    def _tunes_on(self, unit: Unit) -> bool:
        """Start a tuning again whose process was killed; a trial that it dies of twice has failed."""
        trial = trial_in_flight(unit.runs[0], self._directory)
        if trial is None:
            return False
        self._killed[trial] += 1
        if self._killed[trial] < ATTEMPTS:
            self._again(unit, "its process was killed; it goes on with the same trial")
            return True
        reason = describe_death(-signal.SIGKILL, unit.log, "trial")
        if not give_up_trial(unit.runs[0], self._directory, reason):
            return False
        self._again(unit, "a trial has killed its process again and counts as failed")
        return True

    def _again(self, unit: Unit, why: str) -> None:
        """Put a unit back to those that wait."""
        self._waiting.insert(0, unit)
        self._progress.again(unit.label, why)

    def _finish(self, flight: _Flight, death: str | None) -> None:
        """A unit has ended; `death` says how if it did so without a word."""
        unit, reason = flight.unit, death
        if death is None:
            reason = _failure(unit)
        elif unit.kind == "run":
            self._store_failure(unit.runs[0], death, flight.seconds)
        else:
            for spec in unit.runs:
                self._fail_before_it_began(spec, f"There are no settings to run with. {death}")
        _keep_log(unit)
        self._progress.finished(unit.label, flight.seconds, reason)

    def _fail_before_it_began(self, spec: RunSpec, reason: str) -> None:
        for unit in self._waiting:
            if unit.label == spec.label:
                self._set_aside(unit)
        self._store_failure(spec, reason, 0.0)

    def _set_aside(self, unit: Unit) -> None:
        """Keep a failed run's folder under another name before the run is done again."""
        if unit.label in self._retried:
            self._retried.remove(unit.label)
            attempt = 1
            while (aside := unit.complete.with_name(f"{unit.complete.name}.failed-{attempt}")).exists():
                attempt += 1
            unit.complete.rename(aside)

    def _store_failure(self, spec: RunSpec, reason: str, seconds: float) -> None:
        """Complete the folder of a run whose process can no longer do so."""
        deadline = time.monotonic() + LET_GO_SECONDS
        while is_held(lock_file(self._directory, spec)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        # The settings of a tuned run, if they are known.
        with contextlib.suppress(ConfigError):
            spec = tuned(spec, self._directory)
        try:
            folder = RunDirectory(self._directory, spec, self._directory / RESOLVED, adopt=True)
        except ConfigError as error:
            # Something of it is still alive, and may yet complete it. Without a row it is done next time.
            self._progress.note(spec.label, str(error))
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        folder.complete({"status": "failed", "reason": reason, "finished": now, "seconds": seconds})


def failure_of(folder: Path) -> str | None:
    """Why a stored run failed; None if it did not."""
    status = read_status(folder) or {"status": "failed", "reason": "status.json is missing"}
    return None if status["status"] == "done" else str(status.get("reason"))


def _failure(unit: Unit) -> str | None:
    return failure_of(unit.complete) if unit.kind == "run" else None


def _keep_log(unit: Unit) -> None:
    """Put the log of a complete unit into its folder."""
    if unit.log != unit.kept_log and unit.log.exists() and unit.complete.exists():
        unit.log.replace(unit.kept_log)
