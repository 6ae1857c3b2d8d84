"""One run of a study: load, adapt, train, evaluate on the test split, and keep everything."""

import contextlib
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import transformers

from amplitune.study.data.tasks import Task, load_task
from amplitune.study.measures.energy import EnergyMeter
from amplitune.study.measures.forgetting import forgetting
from amplitune.study.measures.learned_change import measure_modules, medians
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.distributed.launch import launch
from amplitune.study.running.distributed.processes import processes_of
from amplitune.study.running.environment import describe_environment
from amplitune.study.running.evaluation import evaluate
from amplitune.study.running.failures import explain
from amplitune.study.running.fit import fit, prepare
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.running.run_files import RunFiles
from amplitune.study.running.rundir import RunDirectory
from amplitune.study.settings.config import RunSpec


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
        if processes_of(spec) > 1:
            reason = launch(spec, folder)
        else:
            carry_out(spec, task, folder)
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


def carry_out(spec: RunSpec, task: Task, folder: RunFiles) -> None:
    """The steps of a run, in their order.

    Args:
        spec: the run.
        task: its examples.
        folder: takes what the run writes.
    """
    prepare(spec)
    folder.write("env.json", describe_environment())
    folder.progress("loading")
    tokenizer = load_tokenizer(spec)
    splits = tokenize(task, spec.task, tokenizer)
    model, efficiency = fit(spec, task, tokenizer, splits, folder)
    if model is None:  # another process of the run goes on alone
        return
    # What follows is the same whether the training was resumed or not.
    transformers.set_seed(spec.seed)
    folder.progress("evaluating")
    # A trial of tuning never reads the test split.
    split, examples = ("test", task.test) if spec.trial is None else ("validation", task.validation)
    with EnergyMeter() as energy:
        scores, predictions, speed = evaluate(model, tokenizer, task, examples, splits[split], spec)
    for prediction in predictions:
        folder.append("predictions.jsonl", prediction)
    folder.append("metrics.jsonl", {"event": split, **scores, "examples": len(predictions)})
    efficiency["generation_tokens_per_second"] = speed
    if task.kind == "generation":
        efficiency["generation_energy_joules"] = energy.joules
        efficiency.setdefault("energy_kind", energy.kind)
    if spec.trial is None:
        folder.progress("measuring what was learned")

        def load_base() -> Any:
            return load_model(spec, load_config(spec, tokenizer, task.labels))

        records = measure_modules(model, load_base, tokenizer, splits["validation"], spec)
        for record in records:
            folder.append("modules.jsonl", record)
        efficiency |= medians(records) | forgetting(model, load_base, tokenizer, spec)
    folder.append("metrics.jsonl", {"event": "efficiency", **efficiency})
