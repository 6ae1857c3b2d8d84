"""What a study will do before it does it: its data, its runs, and what they take of memory, disk and time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from amplitune.errors import ConfigError
from amplitune.study.data.examples import Example
from amplitune.study.data.tokens import ensure_pad_token
from amplitune.study.execution.executors.available_memory import available_memory
from amplitune.study.methods.registry import find_method
from amplitune.study.planning.memory_prediction import MemoryPrediction, predict_memory
from amplitune.study.planning.preflight import CheckedTask, check_tasks
from amplitune.study.planning.time_probe import RunTime, probe_time
from amplitune.study.running.longest_batch import longest_batches
from amplitune.study.running.models import load_config
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.tuning.chosen import spaces_of

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 4}
"""Of a stored weight."""


@dataclass(frozen=True)
class SplitPlan:
    """A split of a task.

    Args:
        examples: how many.
        tokens: of all examples, prompts and answers, as the model reads them.
        longest: tokens of the longest example.
    """

    examples: int
    tokens: int
    longest: int


@dataclass(frozen=True)
class TaskPlan:
    """A task of the study: name, kind, model, what its format was recognised as, and its splits by name."""

    task: str
    kind: str
    model: str
    format: str
    splits: dict[str, SplitPlan]


@dataclass(frozen=True)
class MethodPlan:
    """A method on a task.

    Args:
        task: the task's name.
        method: the method's name.
        runs: one a seed.
        trials: of tuning, before the runs; they may differ from these in size.
        trainable_parameters: angles + classical; None where they are known only with weights.
        angles: of circuits.
        classical_parameters: all other trainable ones.
        memory: of one run, predicted.
        disk_bytes: of all its runs, predictions included.
        time: of a run's parts; None if it was not probed.
        seconds: of all its runs and trials, one after another; None if it was not probed.
        note: what stands in the way of a number.
    """

    task: str
    method: str
    runs: int
    trials: int
    trainable_parameters: int | None
    angles: int | None
    classical_parameters: int | None
    memory: MemoryPrediction
    disk_bytes: int | None
    time: RunTime | None
    seconds: float | None
    note: str


@dataclass(frozen=True)
class StudyPlan:
    """A study.

    Args:
        name: its name.
        tasks: its tasks.
        methods: its methods, a row for each task.
        workers: runs at a time.
        available_bytes: memory that runs can have now: of the first GPU, or of the machine without one.
    """

    name: str
    tasks: tuple[TaskPlan, ...]
    methods: tuple[MethodPlan, ...]
    workers: int
    available_bytes: int

    @property
    def runs(self) -> int:
        """Runs in all."""
        return sum(row.runs for row in self.methods)

    @property
    def trials(self) -> int:
        """Trials in all."""
        return sum(row.trials for row in self.methods)

    @property
    def disk_bytes(self) -> int | None:
        """Of all runs; None if it is not known of some."""
        return _sum(row.disk_bytes for row in self.methods)

    @property
    def seconds(self) -> float | None:
        """Of the study, its work shared evenly by the workers; None if some were not probed."""
        total = _sum(row.seconds for row in self.methods)
        return None if total is None else total / min(self.workers, max(self.runs, 1))

    @property
    def peak_bytes(self) -> int | None:
        """Of as many runs as work at a time, should the largest meet; None if one is not known."""
        peaks = [row.memory.peak for row in self.methods for _ in range(row.runs)]
        known = [peak for peak in peaks if peak is not None]
        return sum(sorted(known, reverse=True)[: self.workers]) if len(known) == len(peaks) else None

    def data(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [
            {**asdict(row), "memory": {**asdict(row.memory), "peak": row.memory.peak}} for row in self.methods
        ]
        totals = {
            key: getattr(self, key) for key in ("runs", "trials", "disk_bytes", "seconds", "peak_bytes")
        }
        return {
            "name": self.name,
            "tasks": [asdict(task) for task in self.tasks],
            "methods": rows,
            "workers": self.workers,
            "available_bytes": self.available_bytes,
            **totals,
        }


def plan_study(study: StudyConfig, say: Callable[[str], object], probe: bool = False) -> StudyPlan:
    """Check a study and say what it will take.

    Nothing is written to the study's folder, and no weights are loaded.

    Args:
        study: the study.
        say: takes remarks for the user, one line each.
        probe: time a few steps of each method on each task, with random weights of the model's shape.

    Returns:
        The plan.

    Raises:
        ConfigError: something is wrong with the study; all of it is named.
    """
    resolved, checked = check_tasks(study, say)
    available = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else available_memory()
    rows = []
    for task in checked:
        for spec in task.runs:
            if probe:
                say(f"{spec.task.name} / {spec.method.name}: timing a few steps")
            rows.append(_method_plan(resolved, task, spec, probe, available))
    return StudyPlan(study.name, tuple(map(_task_plan, checked)), tuple(rows), study.workers, available)


def predicted_peaks(study: StudyConfig, checked: Sequence[CheckedTask]) -> dict[str, int]:
    """The most bytes that the tensors of each run take, by the run's label, of those that can be predicted.

    Args:
        study: the study, as `check_tasks` resolved it.
        checked: its tasks.
    """
    peaks = {}
    for task in checked:
        for spec in task.runs:
            peaks[spec.task.name, spec.method.name] = _predicted(task, spec).peak
    return {
        run.label: peak for run in study.runs() if (peak := peaks[run.task.name, run.method.name]) is not None
    }


def _predicted(checked: CheckedTask, spec: RunSpec) -> MemoryPrediction:
    config = load_config(spec, checked.tokenizer, checked.task.labels)
    batches = longest_batches(spec, checked.rows, ensure_pad_token(checked.tokenizer))
    return predict_memory(spec, config, batches)


def _task_plan(checked: CheckedTask) -> TaskPlan:
    splits = {}
    for name, rows in checked.rows.items():
        lengths = [len(row["input_ids"]) for row in rows]
        splits[name] = SplitPlan(len(rows), sum(lengths), max(lengths, default=0))
    task = checked.task
    return TaskPlan(task.name, task.kind, checked.runs[0].model_name_or_path, task.format_note, splits)


def _method_plan(
    study: StudyConfig, checked: CheckedTask, spec: RunSpec, probe: bool, available: int
) -> MethodPlan:
    memory = _predicted(checked, spec)
    count = checked.parameters.get(spec.method.name)
    runs = len(study.seeds)
    trials = study.tuning.trials if study.tuning is not None and spaces_of(spec) else 0
    taken, note = None, memory.reason
    if probe and memory.peak is not None and memory.peak > available:
        note = f"not timed: it needs {memory.peak:,} bytes where {available:,} are available"
    elif probe:
        try:
            taken = probe_time(spec, checked)
        except (RuntimeError, NotImplementedError, ConfigError) as error:
            note = f"not timed: {(str(error) or type(error).__name__).splitlines()[0]}"
    return MethodPlan(
        spec.task.name,
        spec.method.name,
        runs,
        trials,
        count.trainable if count is not None else None,
        count.angles if count is not None else None,
        count.classical if count is not None else None,
        memory,
        _disk(spec, checked, runs),
        taken,
        None if taken is None else _seconds(study, spec, taken, runs, trials),
        note,
    )


def _seconds(study: StudyConfig, spec: RunSpec, taken: RunTime, runs: int, trials: int) -> float:
    def evaluations(steps: int) -> int:
        return math.ceil(steps / (spec.training.eval_steps or math.ceil(steps / 10)))

    steps = spec.training.max_steps
    seconds = runs * taken.run(steps, evaluations(steps))
    if trials and study.tuning is not None:
        short = study.tuning.max_steps or steps
        seconds += trials * taken.run(short, evaluations(short), trial=True)
    return seconds


def _disk(spec: RunSpec, checked: CheckedTask, runs: int) -> int | None:
    """Bytes of trained weights and of predictions; curves and settings are small beside these."""
    method = find_method(spec.method.method)
    count = checked.parameters.get(spec.method.name)
    stored = 0
    if spec.save_adapters and method.trains != "nothing":
        if count is None:
            return None
        whole = method.trains != "adapter"
        stored = count.total * BYTES[spec.dtype] if whole else count.trainable * BYTES["float32"]
    answer = 4 * spec.task.max_new_tokens if checked.task.kind == "generation" else 0
    written = sum(_bytes(example) + answer + _RECORD for example in checked.task.test)
    return runs * (stored + written)


_RECORD = 100
"""Bytes of a prediction's keys and numbers."""


def _bytes(example: Example) -> int:
    return sum(len(str(text).encode()) for text in (example.prompt, *example.references))


def _sum(values: Any) -> Any:
    found = list(values)
    return None if any(value is None for value in found) else sum(found)
