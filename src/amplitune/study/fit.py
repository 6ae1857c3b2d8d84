"""Fitting a model to a task: loading it, adapting it by the method and training it."""

import shutil
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from amplitune.adapters import count_parameters
from amplitune.study.checkpoints import FOLDER as CHECKPOINTS
from amplitune.study.config import RunSpec
from amplitune.study.memory import read_peak, reset_peak
from amplitune.study.methods import apply_method, find_method
from amplitune.study.models import load_config, load_model
from amplitune.study.rundir import RunDirectory
from amplitune.study.tasks import Task
from amplitune.study.training import StepClock, train


class PeakMemory:
    """Peak memory of a training, the largest of its parts where it was resumed."""

    def __init__(self) -> None:
        self._before = 0
        reset_peak()

    def read(self) -> tuple[int, str]:
        """Bytes, and what kind of memory it is."""
        peak, kind = read_peak()
        return max(self._before, peak), kind

    def state_dict(self) -> dict[str, Any]:
        """The peak so far, for a checkpoint."""
        return {"bytes": self.read()[0]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._before = int(state["bytes"])


def prepare(spec: RunSpec) -> None:
    """Set this process up for a run: its threads, and operations that give the same result each time."""
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    # warn_only: a GPU operation without a deterministic form is no reason to lose the run.
    torch.use_deterministic_algorithms(True, warn_only=True)
    # With the former torch also fills every new tensor, a pass over memory that no result depends on.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def fit(
    spec: RunSpec,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, list[dict[str, Any]]],
    folder: RunDirectory,
) -> tuple[Any, dict[str, Any]]:
    """Load the model, adapt it by the method and train it; its curve and its adapter go to the folder.

    Args:
        spec: the run.
        task: the examples.
        tokenizer: the model's.
        splits: "train" and "validation" as tokenised rows.
        folder: the run's folder.

    Returns:
        The model, and what the training took: parameters, time, memory, bytes of the adapter.
    """
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
    if method.trains == "nothing":
        return model, efficiency
    clock = StepClock(
        lambda event: folder.append("metrics.jsonl", event),
        lambda done, total: folder.progress("training", done, total),
    )
    peak = PeakMemory()
    trainer = train(
        model,
        tokenizer,
        splits,
        spec,
        folder.path / CHECKPOINTS,
        clock,
        {"folder": folder, "peak_memory": peak},
        folder.checkpoint,
    )
    efficiency["peak_memory_bytes"], efficiency["peak_memory_kind"] = peak.read()
    efficiency["step_seconds"] = clock.median_step
    efficiency["train_seconds"] = clock.seconds
    efficiency["tokens_per_second"] = trainer.state.num_input_tokens_seen / clock.seconds
    trained = folder.path / ("adapter" if method.trains == "adapter" else "model")
    model.save_pretrained(trained)
    efficiency["adapter_bytes"] = sum(file.stat().st_size for file in trained.glob("*.safetensors"))
    if not spec.save_adapters:
        shutil.rmtree(trained)
    return model, efficiency
