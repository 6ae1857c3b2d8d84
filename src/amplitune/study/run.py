"""One run of a study: load, adapt, train, evaluate on the test split, and keep everything."""

import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from amplitune.adapters import count_parameters
from amplitune.study.config import RunSpec
from amplitune.study.environment import describe_environment
from amplitune.study.evaluation import evaluate
from amplitune.study.memory import read_peak, reset_peak
from amplitune.study.methods import apply_method, find_method
from amplitune.study.models import load_config, load_model, load_tokenizer
from amplitune.study.preflight import tokenize
from amplitune.study.rundir import RunDirectory
from amplitune.study.tasks import Task, load_task
from amplitune.study.training import StepClock, train


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
    began, clock = datetime.now(UTC), time.monotonic()
    reason = None
    try:
        _run(spec, task, folder)
    except Exception as error:  # whatever went wrong is the run's result
        traceback.print_exc(file=sys.stderr)
        reason = f"{type(error).__name__}: {error}"
    status = {
        "status": "done" if reason is None else "failed",
        "reason": reason,
        "started": began.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": time.monotonic() - clock,
    }
    folder.complete(status)
    return status


def _run(spec: RunSpec, task: Task, folder: RunDirectory) -> None:
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    # warn_only: a GPU operation without a deterministic form is no reason to lose the run.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # With the former torch also fills every new tensor, a pass over memory that no result depends on.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    folder.write("env.json", describe_environment())
    folder.progress("loading")
    tokenizer = load_tokenizer(spec)
    splits = tokenize(task, spec.task, tokenizer)

    # The weights that a run draws (a head, an adapter) depend on its seed alone.
    transformers.set_seed(spec.seed)
    base = load_model(spec, load_config(spec, tokenizer, task.labels))
    method = find_method(spec.method.method)
    model: Any = apply_method(base, method, task.kind, spec.method.config)
    parameters = count_parameters(model)
    efficiency: dict[str, Any] = {
        "trainable_parameters": parameters.trainable,
        "angles": parameters.angles,
        "classical_parameters": parameters.classical,
        "total_parameters": parameters.total,
    }

    if method.trains != "nothing":
        clock = StepClock(
            lambda event: folder.append("metrics.jsonl", event),
            lambda done, total: folder.progress("training", done, total),
        )
        reset_peak()
        with tempfile.TemporaryDirectory() as scratch:
            trainer = train(model, tokenizer, splits, spec, Path(scratch), clock)
        efficiency["peak_memory_bytes"], efficiency["peak_memory_kind"] = read_peak()
        efficiency["step_seconds"] = clock.median_step
        efficiency["train_seconds"] = clock.seconds
        efficiency["tokens_per_second"] = trainer.state.num_input_tokens_seen / clock.seconds
        trained = folder.path / ("adapter" if method.trains == "adapter" else "model")
        model.save_pretrained(trained)
        efficiency["adapter_bytes"] = sum(file.stat().st_size for file in trained.glob("*.safetensors"))
        if not spec.save_adapters:
            shutil.rmtree(trained)

    folder.progress("evaluating")
    scores, predictions, speed = evaluate(model, tokenizer, task, splits["test"], spec)
    for prediction in predictions:
        folder.append("predictions.jsonl", prediction)
    folder.append("metrics.jsonl", {"event": "test", **scores, "examples": len(predictions)})
    efficiency["generation_tokens_per_second"] = speed
    folder.append("metrics.jsonl", {"event": "efficiency", **efficiency})
