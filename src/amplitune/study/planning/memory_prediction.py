"""The memory that a run will take, predicted from its longest batches on fake tensors."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import peft
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PretrainedConfig, masking_utils

from amplitune.errors import AmplituneError
from amplitune.study.methods.registry import apply_method, create_optimizer, find_method
from amplitune.study.running.longest_batch import LongestBatches, generation_step, scoring_step, training_step
from amplitune.study.running.memory_tracking import MemorySplit, track_memory
from amplitune.study.running.models import AUTO_CLASSES
from amplitune.study.settings.config import RunSpec


@dataclass(frozen=True)
class MemoryPrediction:
    """The memory of one run's process, in bytes of tensors.

    Args:
        training: of an optimizer step on the longest batch; None for a method that trains nothing.
        evaluation: of generation from the longest prompts to their last token, or of scoring the longest test
            batch, whichever takes more.
        reason: why there is no prediction, else "".
    """

    training: MemorySplit | None
    evaluation: MemorySplit | None
    reason: str = ""

    @property
    def peak(self) -> int | None:
        """The most bytes at any time of the run; None where there is no prediction."""
        return max((part.peak for part in (self.training, self.evaluation) if part is not None), default=None)


def predict_memory(spec: RunSpec, config: PretrainedConfig, batches: LongestBatches) -> MemoryPrediction:
    """Predict a run's memory without weights.

    The model's shapes are built on torch's fake tensors, the method applied, and an optimizer step as well as
    the evaluation run on the longest batches; every storage is followed from its making to its freeing. What
    the interpreter, libraries and an allocator's rounding take comes on top.

    Args:
        spec: the run, its task's kind known.
        config: the model's configuration, set up for the task.
        batches: the run's longest batches.

    Returns:
        The prediction; where the method cannot run without weights, the reason.
    """
    if spec.processes_per_run > 1 and spec.distributed == "fsdp":
        return MemoryPrediction(None, None, "the shards of several processes (fsdp) are not predicted")
    try:
        with quiet():
            model = _meta_model(spec, config)
            # What a method keeps beside parameters and buffers stays real.
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            _to_fake(model, mode)
        with quiet(), mode, _MiddleDraws(), _without_packing():
            return MemoryPrediction(
                measure_training(model, spec, batches), measure_evaluation(model, batches)
            )
    except AmplituneError:
        raise
    except Exception as error:  # whatever a method does that shapes alone cannot answer
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return MemoryPrediction(
            None,
            None,
            f"{spec.method.name} cannot run without weights ({type(error).__name__}: {first[:120]})",
        )


def measure_training(model: Any, spec: RunSpec, batches: LongestBatches) -> MemorySplit | None:
    """Take optimizer steps on the longest batch and follow the memory of the second.

    The first makes the optimizer's state, which every later one finds.

    Args:
        model: as `apply_method` left it, on real or on fake tensors; it is trained.
        spec: the run.
        batches: its longest batches.

    Returns:
        The memory of a step; None where the method trains nothing.
    """
    method = find_method(spec.method.method)
    if method.trains == "nothing":
        return None
    settings = spec.training
    if settings.gradient_checkpointing and method.gradient_checkpointing:
        enable_gradient_checkpointing(model)
    adapter = model.peft_config[model.active_adapter] if isinstance(model, peft.PeftModel) else None
    optimizer = create_optimizer(model, adapter, 1e-3, settings.weight_decay)
    model.train()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    with track_memory(model, optimizer) as trace:
        for _ in range(min(settings.gradient_accumulation_steps, 2)):
            training_step(model, batches, settings.bf16)
        buckets = (
            [torch.empty_like(p.grad) for p in model.parameters() if p.grad is not None]
            if (spec.processes_per_run > 1)
            else []
        )
        optimizer.step()
        split = trace.split()
    del buckets
    optimizer.zero_grad()
    return split


def measure_evaluation(model: Any, batches: LongestBatches) -> MemorySplit:
    """Follow the memory of generation and of scoring, on the longest batch of each.

    Args:
        model: on real or on fake tensors, without gradients.
        batches: the run's longest batches.
    """
    model.eval()
    with track_memory(model) as trace:
        generation_step(model, batches)
        scoring_step(model, batches)
    return trace.split()


def enable_gradient_checkpointing(model: Any) -> None:
    """Turn it on as the trainer does."""
    model.gradient_checkpointing_enable()
    # transformers may have done it already, and would forget the hooks of the first time.
    if isinstance(model, peft.PeftModel) and not getattr(model, "_require_grads_hooks", None):
        model.enable_input_require_grads()


class _MiddleDraws(TorchDispatchMode):
    """Gives 0.5 for a single random number, as methods draw to decide whether a whole layer drops out."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator; a fake tensor knows the value of a number that is given, not of a draw."""
        if func is torch.ops.aten.rand.default and list(args[0]) == [1]:
            return torch.tensor([0.5])
        return func(*args, **(kwargs or {}))


def _meta_model(spec: RunSpec, config: PretrainedConfig) -> Any:
    """The adapted model on the meta device; what a method makes may lie elsewhere."""
    kind = spec.task.kind
    assert kind is not None, "the task is resolved before its model is built"
    dtype = getattr(config, "dtype", None) if spec.dtype == "auto" else getattr(torch, spec.dtype)
    with torch.device("meta"):
        model = AUTO_CLASSES[kind].from_config(
            config, dtype=dtype or torch.float32, trust_remote_code=spec.trust_remote_code
        )
    with torch.random.fork_rng():
        return apply_method(model, find_method(spec.method.method), kind, spec.method.config)


def _to_fake(model: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Put fake tensors in the place of parameters and buffers; what is shared stays shared."""
    made: dict[int, torch.Tensor] = {}

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in made:
            with mode:
                new = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            made[id(tensor)] = torch.nn.Parameter(new, tensor.requires_grad) if is_parameter else new
        return made[id(tensor)]

    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = fake(tensor)  # type: ignore[assignment]


@contextlib.contextmanager
def _without_packing() -> Iterator[None]:
    """Without the search for several texts in one row, which reads values: no batch of ours has any.

    Where transformers cannot read values it makes the mask of packed rows, which a run never does.
    """
    search = getattr(masking_utils, "find_packed_sequence_indices", None)
    if search is None:
        yield
        return
    masking_utils.find_packed_sequence_indices = lambda *_args, **_options: None
    try:
        yield
    finally:
        masking_utils.find_packed_sequence_indices = search


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out the remarks that the run itself will make."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
