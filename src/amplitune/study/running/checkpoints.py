"""The checkpoints of a run in flight, from which the run goes on when its process has been killed."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from amplitune.study.atomic import write_atomically
from amplitune.study.running.distributed import group
from amplitune.study.stored.stored_run import read_object

FOLDER = "checkpoints"
"""The trainer's folder, inside the folder of a run in flight."""

COMPLETE = "complete.json"
"""Written into a checkpoint when everything else of it is there: without this file it is no checkpoint."""

INTERVAL_SECONDS = 120.0
"""Time between two checkpoints, where the study does not set `save_steps`."""

SHARE = 0.1
"""The largest part of the time that may go into writing them, where the study does not set `save_steps`."""


class Kept(Protocol):
    """Something that counts through a training, and goes on counting in a process that resumes it."""

    def state_dict(self) -> dict[str, Any]:
        """What it has counted, as JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what it had counted."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint.

    Args:
        path: its folder.
        step: optimizer steps done.
        kept: name -> what the `Kept` of that name had counted.
    """

    path: Path
    step: int
    kept: dict[str, Any]


def newest(run_folder: Path) -> Checkpoint | None:
    """The last complete checkpoint in the folder of a run in flight; None if it has none."""
    found = []
    for path in (run_folder / FOLDER).glob("checkpoint-*"):
        content = read_object(path / COMPLETE)
        if content is not None:
            found.append(Checkpoint(path, int(content["step"]), dict(content["kept"])))
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


class CheckpointCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Asks the trainer for checkpoints, and keeps the newest complete one.

    A checkpoint is taken only where the training loss is logged: what is logged is a mean since the last log,
    which a new process could not know.

    Args:
        save_steps: steps between two checkpoints; None for one about every `INTERVAL_SECONDS`.
        kept: what to store beside the trainer's own state.
    """

    def __init__(self, save_steps: int | None, kept: Mapping[str, Kept]) -> None:
        self._save_steps = save_steps
        self._kept = kept
        self._step = 0
        self._saved = False
        self._due = time.monotonic() + INTERVAL_SECONDS
        self._began = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count from where the training begins or goes on."""
        self._step, self._saved = state.global_step, state.global_step > 0
        self._due = time.monotonic() + INTERVAL_SECONDS

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint where one is due; comes after the callbacks that ask for logs."""
        if not control.should_log:
            return
        if self._save_steps is not None:
            due = state.global_step - self._step >= self._save_steps
        else:
            due = group.agreed(time.monotonic() >= self._due)
        # What follows the training can take long too.
        if due or (self._saved and state.global_step == state.max_steps):
            control.should_save = True
            self._began = time.monotonic()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave evaluation out of the time that a checkpoint takes."""
        self._began = time.monotonic()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Declare the checkpoint complete; the ones before it go only then."""
        folder = Path(str(args.output_dir))
        path = folder / f"checkpoint-{state.global_step}"
        kept = {name: part.state_dict() for name, part in self._kept.items()}
        # Each process of a run has written its part.
        group.wait()
        if group.rank() == 0:
            write_atomically(path / COMPLETE, json.dumps({"step": state.global_step, "kept": kept}))
            for other in folder.glob("checkpoint-*"):
                if other != path:
                    shutil.rmtree(other)
        now = time.monotonic()
        self._step, self._saved = state.global_step, True
        self._due = now + max(INTERVAL_SECONDS, (now - self._began) / SHARE)
