"""The tuning of one method on one task: all its trials, one after the other in this process."""

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from amplitune.errors import ConfigError, TrainingError
from amplitune.study.atomic import write_atomically
from amplitune.study.data.tasks import load_task
from amplitune.study.methods.registry import find_method
from amplitune.study.metrics import METRICS
from amplitune.study.running.failures import FULL_DISK
from amplitune.study.running.locks import Lock
from amplitune.study.running.run import run
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.settings.same_settings import differences, differing_settings
from amplitune.study.stored.stored_run import read_object
from amplitune.study.tuning.chosen import (
    spaces_of,
    tuning_folder,
    what_is_tuned,
    with_settings,
    write_chosen,
)
from amplitune.study.tuning.proposals import Proposals
from amplitune.study.tuning.ranking import best_trial, merit
from amplitune.study.tuning.search_spaces import default_value
from amplitune.study.tuning.stored_trial import StoredTrial, read_trial
from amplitune.study.tuning.trials import CHOSEN, TUNING


def tune(
    study: StudyConfig,
    task: str,
    method: str,
    directory: Path,
    study_file: Path,
    overrides: Sequence[str] = (),
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Choose the settings of a method on a task by trials on the validation split.

    Trials that the folder holds are kept: a tuning that was killed goes on where it stopped, and ends with
    the same choice.

    Args:
        study: the study, which must tune.
        task: the task's name.
        method: the method's name in the study.
        directory: the study's folder.
        study_file: the study's YAML, for the commands that are kept.
        overrides: what was set over that file, for the same.
        say: takes a line on each trial.

    Returns:
        What chosen.json holds; empty where the method has nothing to tune.

    Raises:
        ConfigError: the study does not tune, or the folder holds a tuning with other settings.
        TrainingError: every trial failed, or the disk is full.
    """
    if study.tuning is None:
        raise ConfigError(
            "`tuning` must be set where a method is tuned, but is unset. Set it in the study: tuning: "
            "{trials: 8}."
        )
    spec = next(entry for entry in study.runs() if (entry.task.name, entry.method.name) == (task, method))
    kind = load_task(spec.task).kind
    spec = spec.model_copy(update={"task": spec.task.resolved(kind)})
    if not spaces_of(spec):
        say(f"{method} has nothing to tune.")
        return {}
    return _Tuning(spec, directory, study_file, overrides, say).run()


class _Tuning:
    """The trials of one method on one task."""

    def __init__(
        self,
        spec: RunSpec,
        directory: Path,
        study_file: Path,
        overrides: Sequence[str],
        say: Callable[[str], object],
    ) -> None:
        assert spec.tuning is not None
        assert spec.task.kind is not None
        self._spec, self._tuning, self._spaces = spec, spec.tuning, spaces_of(spec)
        self._directory, self._say = directory, say
        self._study_file, self._overrides = study_file, overrides
        self._folder = tuning_folder(directory, spec.task.name, spec.method.name)
        self._metric = spec.task.primary_metric_name(spec.task.kind)
        self._higher_is_better = METRICS[self._metric].higher_is_better
        self._done = 0  # trials that this process has done

    def run(self) -> dict[str, Any]:
        """Do the trials that are missing, and choose."""
        lock = Lock(self._folder / ".lock")
        if not lock.acquire():
            raise ConfigError(
                f"The tuning {self._folder} must be done by one process at a time, but another one is doing "
                "it. Wait for it, or choose another output folder with -o."
            )
        try:
            self._begin()
            stored = read_object(self._folder / CHOSEN)
            if stored is not None:
                return stored
            trials = self._trials()
            if self._done == 0 and self._best(trials) is None:
                # All of them failed before: whoever tunes again may have taken the cause away.
                for trial in trials:
                    _set_aside(self._folder / f"trial-{trial.trial:03d}")
                trials = self._trials()
            chosen = self._choose(trials)
            write_chosen(self._folder / CHOSEN, chosen)
            (self._folder / "progress.json").unlink(missing_ok=True)
            return chosen
        finally:
            lock.release(remove=True)

    def _trials(self) -> list[StoredTrial]:
        """Every trial in its order, done now or before."""
        trials: list[StoredTrial] = []
        proposals = self._proposals()
        for number in range(self._tuning.trials):
            settings = proposals.ask()
            if settings is None:
                self._say(f"All of the space was tried in {number} trials.")
                break
            trial = self._trial(number, settings)
            trials.append(trial)
            proposals.tell(settings, merit(trial, self._tuning.select_by, self._higher_is_better))
        return trials

    def _begin(self) -> None:
        """Say in the folder what is tuned, or find that it is what was tuned before."""
        about = {
            "run": what_is_tuned(self._spec),
            "spaces": {key: space.to_value() for key, space in self._spaces.items()},
        }
        path = self._folder / TUNING
        stored = read_object(path)
        if stored is None:
            write_atomically(path, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
        elif changed := differences(stored, about):
            raise ConfigError(
                f"{self._folder} holds a tuning with other settings than the study asks for: "
                f"`{'`, `'.join(changed)}` differ. "
                "Choose another output folder with -o, or put the settings back."
            )

    def _proposals(self) -> Proposals:
        method = self._spec.method
        defaults = {
            key: default_value(key, find_method(method.method), method.config, self._spec.training)
            for key in self._spaces
        }
        return Proposals(self._spaces, defaults, self._tuning.trials, self._tuning.seed)

    def _trial(self, number: int, settings: Mapping[str, Any]) -> StoredTrial:
        """Do a trial, or read it if it is there."""
        spec = self.trial_spec(number, settings)
        folder = self._directory / spec.folder
        if folder.exists():
            self._check_same(spec, folder)
        else:
            total = self._tuning.trials
            progress = {"phase": f"trial {number + 1} of {total}", "done": number, "total": total}
            write_atomically(self._folder / "progress.json", json.dumps(progress))
            self._done += 1
            status = run(spec, self._directory, self._study_file, self._overrides)
            # The next trial needs the memory of this one's model.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if FULL_DISK in str(status["reason"]):
                # The settings are not to blame: another time the same trial would not fail.
                _set_aside(folder)
                raise TrainingError(f"{spec.label}: {status['reason']}")
        trial = read_trial(folder, number, self._spaces)
        assert trial is not None
        self._say(f"{spec.label}: {self._in_words(trial)}")
        return trial

    def trial_spec(self, number: int, settings: Mapping[str, Any]) -> RunSpec:
        """A trial as a run: its settings, the tuning's seed and steps, and only what a choice needs."""
        spec = with_settings(self._spec, settings)
        steps = {} if self._tuning.max_steps is None else {"max_steps": self._tuning.max_steps}
        return spec.model_copy(
            update={
                "trial": number,
                "seed": self._tuning.seed,
                "training": spec.training.model_copy(update=steps),
                "task": spec.task.model_copy(update={"metrics": [self._metric]}),
                "tuning": None,
                "held_out_text": None,
                "save_adapters": False,
            }
        )

    def _check_same(self, spec: RunSpec, folder: Path) -> None:
        changed = differing_settings(spec, folder)
        if changed:
            raise ConfigError(
                f"{folder} holds a trial with other settings than are proposed now: "
                f"`{'`, `'.join(changed)}` differ. "
                f"Move {folder.parent} away to tune again, or choose another output folder with -o."
            )

    def _choose(self, trials: Sequence[StoredTrial]) -> dict[str, Any]:
        best = self._best(trials)
        if best is None:
            reason = trials[0].reason or f"it has no {self._tuning.select_by.replace('_', ' ')}"
            raise TrainingError(
                f"No trial of {self._spec.method.name} on {self._spec.task.name} can be chosen: all "
                f"{len(trials)} failed. The first: {reason}"
            )
        return {
            "task": self._spec.task.name,
            "method": self._spec.method.name,
            "settings": best.settings,
            "trial": best.trial,
            "metric": self._metric,
            "score": best.score,
            "loss": best.loss,
            "edge": [key for key, space in self._spaces.items() if space.at_edge(best.settings[key])],
            "trials": len(trials),
            "failed": sum(trial.status == "failed" for trial in trials),
            "spaces": {key: space.to_value() for key, space in self._spaces.items()},
            "run": what_is_tuned(self._spec),
        }

    def _best(self, trials: Sequence[StoredTrial]) -> StoredTrial | None:
        return best_trial(trials, self._tuning.select_by, self._higher_is_better)

    def _in_words(self, trial: StoredTrial) -> str:
        settings = ", ".join(f"{key} {value}" for key, value in trial.settings.items())
        if trial.status == "failed":
            return f"{settings}: failed: {trial.reason}"
        values = [(self._metric, trial.score), ("validation loss", trial.loss)]
        found = ", ".join(f"{name} {value:.4g}" for name, value in values if value is not None)
        return f"{settings}: {found}"


def _set_aside(folder: Path) -> None:
    attempt = 1
    while (aside := folder.with_name(f"{folder.name}.failed-{attempt}")).exists():
        attempt += 1
    folder.rename(aside)
