"""Fitting a model to a task: loading it, adapting it by the method and training it."""

import shutil
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from amplitune.adapters import count_parameters
from amplitune.study.data.tasks import Task
from amplitune.study.measures.energy import EnergyMeter
from amplitune.study.measures.training_memory import TrainingMemory
from amplitune.study.methods.registry import apply_method, find_method
from amplitune.study.running.checkpoints import FOLDER as CHECKPOINTS
from amplitune.study.running.distributed import group
from amplitune.study.running.distributed.energy import joules_of_all
from amplitune.study.running.distributed.trained_model import trained_model
from amplitune.study.running.memory import read_peak, reset_peak
from amplitune.study.running.models import load_config, load_model
from amplitune.study.running.probe import probe_longest
from amplitune.study.running.run_files import RunFiles
from amplitune.study.running.training import StepClock, train
from amplitune.study.settings.config import RunSpec


class PeakMemory:
    """Peak memory of a training: the largest of its parts where it was resumed, and of its processes."""

    def __init__(self) -> None:
        self._before = 0
        reset_peak()

    def read(self) -> tuple[int, str]:
        """Bytes, and what kind of memory it is."""
        peak, kind = read_peak()
        return group.largest(max(self._before, peak)), kind

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


def adapted_model(spec: RunSpec, task: Task, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The model as a run begins to train it."""
    # The weights that a run draws (a head, an adapter) depend on its seed alone.
    transformers.set_seed(spec.seed)
    base = load_model(spec, load_config(spec, tokenizer, task.labels))
    return apply_method(base, find_method(spec.method.method), task.kind, spec.method.config)


def fit(
    spec: RunSpec,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    splits: Mapping[str, list[dict[str, Any]]],
    folder: RunFiles,
) -> tuple[Any, dict[str, Any]]:
    """Load the model, adapt it by the method and train it; its curve and its adapter go to the folder.

    Args:
        spec: the run.
        task: the examples.
        tokenizer: the model's.
        splits: "train" and "validation" as tokenised rows.
        folder: the run's folder.

    Returns:
        The model, and what the training took: parameters, time, memory, bytes of the adapter. Of several
        processes the first has the model, the others None.
    """
    method = find_method(spec.method.method)
    model = adapted_model(spec, task, tokenizer)
    parameters = count_parameters(model)
    efficiency: dict[str, Any] = {
        "trainable_parameters": parameters.trainable,
        "angles": parameters.angles,
        "classical_parameters": parameters.classical,
        "total_parameters": parameters.total,
    }
    # What runs out of memory on its longest batch does so now, not after an hour.
    probed = probe_longest(model, tokenizer, splits, spec)
    if method.trains == "nothing":
        return model, efficiency
    clock = StepClock(
        lambda event: folder.append("metrics.jsonl", event),
        lambda done, total: folder.progress("training", done, total),
    )
    peak, memory = PeakMemory(), TrainingMemory()
    with EnergyMeter() as energy:
        trainer = train(
            model,
            tokenizer,
            splits,
            spec,
            folder.path / CHECKPOINTS,
            clock,
            {"folder": folder, "peak_memory": peak, "memory": memory, "energy": energy},
            folder.checkpoint,
        )
    efficiency["peak_memory_bytes"], efficiency["peak_memory_kind"] = read = peak.read()
    efficiency |= memory.columns(*read, probed["activations_bytes"])
    efficiency["energy_joules"] = joules_of_all(energy.joules, resumed=folder.checkpoint is not None)
    efficiency["energy_kind"] = energy.kind
    efficiency["step_seconds"] = clock.median_step
    efficiency["train_seconds"] = clock.seconds
    efficiency["tokens_per_second"] = trainer.state.num_input_tokens_seen / clock.seconds
    if group.size() > 1:
        model = trained_model(trainer, model, lambda: adapted_model(spec, task, tokenizer))
        if model is None:
            return None, efficiency
    trained = folder.path / ("adapter" if method.trains == "adapter" else "model")
    model.save_pretrained(trained)
    efficiency["adapter_bytes"] = sum(file.stat().st_size for file in trained.glob("*.safetensors"))
    if not spec.save_adapters:
        shutil.rmtree(trained)
    return model, efficiency
