"""A process of a pair that trains each adapter with DeepSpeed, one way after the other."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.training_stacks.pair import report_and_leave
from tests.adapters.training_stacks.training import (
    ROWS,
    STEPS,
    batches,
    build_base,
    build_config,
    build_model,
    build_optimizer,
    sora_step,
)
from torch import Tensor, nn

deepspeed: Any = pytest.importorskip("deepspeed", reason="deepspeed is not installed")

Result = tuple[list[float], dict[str, Tensor], int | None]


def whole(model: nn.Module) -> dict[str, Tensor]:
    """The trained parameters, those that are split made whole."""
    parameters = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    with deepspeed.zero.GatheredParameters([value for _, value in parameters]):
        return {name: value.detach().clone() for name, value in parameters}


def start(model: nn.Module, method: str, stage: int, size: int, **fields: Any) -> Any:
    """Hand the model and its optimizer to DeepSpeed."""
    config = {
        "train_micro_batch_size_per_gpu": ROWS // size // fields.get("gradient_accumulation_steps", 1),
        # No parameter is small enough to be kept whole, and none too small to be sent.
        "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        # It clips to 1 unless told otherwise.
        "gradient_clipping": 0.0,
        **fields,
    }
    engine, *_ = deepspeed.initialize(model=model, optimizer=build_optimizer(model, method), config=config)
    return engine


def steps(engine: Any, data: Tensor, rank: int, size: int, micro_batches: int = 1) -> list[float]:
    """Take a step for each batch; give the loss of this process's rows in each."""
    losses = []
    for batch in data:
        total = 0.0
        for rows in batch.chunk(size)[rank].chunk(micro_batches):
            loss = engine(input_ids=rows, labels=rows).loss
            engine.backward(loss)
            engine.step()
            total += float(loss.detach()) / micro_batches
        losses.append(total)
    return losses


def zero(
    method: str,
    rank: int,
    size: int,
    stage: int,
    micro_batches: int = 1,
    checkpointed: bool = False,
    **fields: Any,
) -> Result:
    """Gradients and the optimizer's state are split (stage 2), or parameters too (stage 3)."""
    model = build_model(method)
    if checkpointed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        model.train()
    engine = start(model, method, stage, size, gradient_accumulation_steps=micro_batches, **fields)
    if stage == 3:
        assert all(value.numel() == 0 for value in model.parameters()), "every parameter is split"
    losses = steps(engine, batches(), rank, size, micro_batches)
    return losses, whole(model), sora_step(engine.optimizer)


def split_from_the_start(method: str, rank: int, size: int) -> Result:
    """The base model's parameters are split as they are made, before the adapter is."""
    expected = build_model(method).state_dict()
    with deepspeed.zero.Init(config_dict_or_path={"train_micro_batch_size_per_gpu": 1}):
        base = build_base()
    assert base.lm_head.weight.numel() == 0
    model = get_peft_model(base, build_config(method))
    # Random numbers are drawn in another order there.
    parameters = dict(model.named_parameters())
    for name, value in expected.items():
        if name in parameters:
            with deepspeed.zero.GatheredParameters([parameters[name]], modifier_rank=0):
                parameters[name].data.copy_(value)
    with deepspeed.zero.Init(module=model, config_dict_or_path={"train_micro_batch_size_per_gpu": 1}):
        pass
    assert all(value.numel() == 0 for value in model.parameters()), "the optimizer is made of split ones"
    engine = start(model, method, 3, size)
    losses = steps(engine, batches(), rank, size)
    return losses, whole(model), sora_step(engine.optimizer)


def resumed(method: str, rank: int, size: int, stage: int, folder: Path) -> Result:
    """A second model goes on from the first one's checkpoint."""
    losses: list[float] = []
    for seed, part in ((0, batches()[: STEPS // 2]), (1, batches()[STEPS // 2 :])):
        model = build_model(method, seed=seed)
        engine = start(model, method, stage, size)
        if seed == 1:
            engine.load_checkpoint(str(folder / f"zero-{stage}"))
        losses += steps(engine, part, rank, size)
        if seed == 0:
            engine.save_checkpoint(str(folder / f"zero-{stage}"))
    return losses, whole(model), sora_step(engine.optimizer)


def jobs(folder: Path) -> dict[str, Callable[[int, int], Result]]:
    """What the pair does, by name: "way method"."""
    found: dict[str, Callable[[int, int], Result]] = {}

    def add(way: str, method: str, function: Callable[..., Result], **fields: Any) -> None:
        found[f"{way} {method}"] = lambda rank, size: function(method, rank, size, **fields)

    for method in ("qaa", "qaa-shared", "sora", "sora-lr", "control"):
        add("zero-2", method, zero, stage=2)
        add("zero-3", method, zero, stage=3)
    for method in ("qaa", "sora"):
        add("zero-2-accumulating", method, zero, stage=2, micro_batches=2)
        add("zero-3-accumulating", method, zero, stage=3, micro_batches=2)
        add("zero-3-checkpointed", method, zero, stage=3, checkpointed=True)
        add("split-from-the-start", method, split_from_the_start)
        # DeepSpeed rounds the adapter's parameters too, and steps copies of them in float32.
        add("zero-2-bfloat16", method, zero, stage=2, bf16={"enabled": True})
        add("zero-3-bfloat16", method, zero, stage=3, bf16={"enabled": True})
    for stage in (2, 3):
        add(f"zero-{stage}-resumed", "sora", resumed, stage=stage, folder=folder)
        offloaded = {
            "stage": stage,
            "stage3_param_persistence_threshold": 0,
            "offload_optimizer": {"device": "cpu"},
        }
        add(f"zero-{stage}-offloaded", "sora", zero, stage=stage, zero_optimization=offloaded)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    into = Path(sys.argv[1])
    report_and_leave(jobs(into), into)
