"""One run of a study: load, adapt, train, evaluate on the test split, and keep everything."""

import contextlib
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import transformers

from amplitune.study.config import RunSpec
from amplitune.study.environment import describe_environment
from amplitune.study.evaluation import evaluate
from amplitune.study.failures import explain
from amplitune.study.fit import fit, prepare
from amplitune.study.models import load_tokenizer
from amplitune.study.preflight import tokenize
from amplitune.study.rundir import RunDirectory
from amplitune.study.tasks import Task, load_task


def run(spec: RunSpec, directory: Path, study_file: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Do one run and write its folder; an exception becomes a status with its reason.

    Args:
        spec: the run.
        directory: the study's folder.
        study_file: the study's YAML, for the command that is kept.
        overrides: what was set over that file, for the same.

    Returns:
        What status.json holds.

    Raises:
        ConfigError: the task cannot be read, or the run is there already.
    """
    # Before the folder is made: a task that cannot be read is the caller's mistake, not a run.
    task = load_task(spec.task)
    spec = spec.model_copy(update={"task": spec.task.resolved(task.kind)})
    folder = RunDirectory(directory, spec, study_file, overrides)
    reason = None
    try:
        _run(spec, task, folder)
    except Exception as error:  # whatever went wrong is the run's result
        with contextlib.suppress(OSError):  # a full disk takes no traceback either
            traceback.print_exc(file=sys.stderr)
        reason = explain(error)
    status = {
        "status": "done" if reason is None else "failed",
        "reason": reason,
        "started": folder.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": folder.seconds,
    }
    folder.complete(status)
    return status


def _run(spec: RunSpec, task: Task, folder: RunDirectory) -> None:
    """The steps of a run, in their order."""
    prepare(spec)
    folder.write("env.json", describe_environment())
    folder.progress("loading")
    tokenizer = load_tokenizer(spec)
    splits = tokenize(task, spec.task, tokenizer)
    model, efficiency = fit(spec, task, tokenizer, splits, folder)
    # What follows is the same whether the training was resumed or not.
    transformers.set_seed(spec.seed)
    folder.progress("evaluating")
    # A trial of tuning never reads the test split.
    split, examples = ("test", task.test) if spec.trial is None else ("validation", task.validation)
    scores, predictions, speed = evaluate(model, tokenizer, task, examples, splits[split], spec)
    for prediction in predictions:
        folder.append("predictions.jsonl", prediction)
    folder.append("metrics.jsonl", {"event": split, **scores, "examples": len(predictions)})
    efficiency["generation_tokens_per_second"] = speed
    folder.append("metrics.jsonl", {"event": "efficiency", **efficiency})
