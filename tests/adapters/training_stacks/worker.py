"""A process of a pair that trains each adapter in each way of sharing the work, one after the other."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from tests.adapters.training_stacks.pair import report_and_leave
from tests.adapters.training_stacks.training import (
    ROWS,
    STEPS,
    batches,
    build_model,
    build_optimizer,
    sora_step,
    train,
    trained,
)
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments

from amplitune import gate_sparsity, prune_gates
from amplitune.adapters import gate_penalty
from amplitune.errors import ConfigError

Result = tuple[list[float], dict[str, Tensor], int | None]


def whole(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, those that are split made whole."""
    return {
        name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in values.items()
    }


def is_sharded(model: nn.Module) -> bool:
    """Whether parameters are split one by one."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def shard(model: nn.Module) -> None:
    """Split each layer and the rest over the processes."""
    for layer in model.base_model.model.model.layers:  # type: ignore[union-attr, unused-ignore]
        fully_shard(layer)
    fully_shard(model)


def ddp(method: str, rank: int, size: int, micro_batches: int = 1, checkpointed: bool = False) -> Result:
    """Replicas whose gradients are averaged."""
    model = build_model(method)
    if checkpointed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
    optimizer = build_optimizer(model, method)
    replica = DistributedDataParallel(model)
    if method == "sora":
        with pytest.raises(ConfigError, match="must not be in DistributedDataParallel"):
            prune_gates(replica, optimizer)
    losses = train(replica, optimizer, batches(), rank, size, micro_batches, replica.no_sync)
    return losses, trained(model), sora_step(optimizer)


def fsdp2(method: str, rank: int, size: int) -> Result:
    """Tensors that are split one by one; the optimizer is made of the shards."""
    model = build_model(method)
    shard(model)
    optimizer = build_optimizer(model, method)
    gates = [value for name, value in trained(model).items() if "gate" in name]
    assert all(isinstance(gate, DTensor) and gate.to_local().numel() < gate.numel() for gate in gates)
    losses = train(model, optimizer, batches(), rank, size)
    return losses, whole(trained(model)), sora_step(optimizer)


def fsdp1(method: str, rank: int, size: int) -> Result:
    """Tensors that are split as one flat tensor; the optimizer is made while matrices are matrices."""
    model = build_model(method)
    optimizer = build_optimizer(model, method)
    sharded = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
    if method == "sora":
        with pytest.raises(ConfigError, match=r"FSDP of version 1 has flattened.*fsdp_version: 2"):
            build_optimizer(sharded.module, method)
        for measure in (gate_sparsity, gate_penalty, prune_gates):
            with pytest.raises(ConfigError, match=r"FSDP of version 1 has flattened.*summon_full_params"):
                measure(sharded)
    losses = train(sharded, optimizer, batches(), rank, size)
    with FullyShardedDataParallel.summon_full_params(sharded):
        if method == "sora":
            assert 0 < gate_sparsity(sharded).remaining < gate_sparsity(sharded).gates == 20
            with pytest.raises(ConfigError, match="must not be in DistributedDataParallel or in FSDP"):
                prune_gates(sharded)
        return losses, trained(model), sora_step(optimizer)


def zero_redundancy(method: str, rank: int, size: int) -> Result:
    """Replicas, each of which keeps the optimizer's state of some parameters."""
    model = build_model(method)
    optimizer = build_optimizer(model, method, ZeroRedundancyOptimizer, optimizer_class=torch.optim.AdamW)
    losses = train(DistributedDataParallel(model), optimizer, batches(), rank, size)
    return losses, trained(model), sora_step(optimizer)


def accelerated(method: str, rank: int, size: int, folder: Path, sharded: bool) -> Result:
    """By accelerate, which is told to save in the middle and goes on with a new model."""
    losses: list[float] = []
    state = None
    for seed, part in ((0, batches()[: STEPS // 2]), (1, batches()[STEPS // 2 :])):
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(cpu=True)
        if sharded:
            # accelerate 1.15 shards on devices other than the CPU alone.
            plugin = FullyShardedDataParallelPlugin(
                fsdp_version=2,
                auto_wrap_policy="transformer_based_wrap",
                transformer_cls_names_to_wrap=["LlamaDecoderLayer"],
                cpu_ram_efficient_loading=False,
            )
            for each in (PartialState(), accelerator.state):
                each.distributed_type = DistributedType.FSDP
            accelerator.state.fsdp_plugin = plugin
        model = build_model(method, seed=seed)
        model, optimizer = accelerator.prepare(model, build_optimizer(model, method))
        assert is_sharded(model) == sharded
        if state is not None:
            accelerator.load_state(str(state))
        losses += train(model, optimizer, part, rank, size, backward=accelerator.backward)
        state = folder / f"accelerated-{sharded}"
        accelerator.save_state(str(state))
    return losses, whole(trained(model)), sora_step(optimizer)


class OrderedTrainer(Trainer):
    """Takes the rows in their order, and shards on a CPU too, where accelerate 1.15 would not."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type, unused-ignore]

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp:
            state = self.accelerator.state
            state.distributed_type = DistributedType.FSDP
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True


def trainer(method: str, rank: int, size: int, folder: Path, sharded: bool) -> Result:
    """By transformers' Trainer, which makes the optimizer itself."""
    AcceleratorState._reset_state(reset_partial_state=True)
    sharding = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
    }
    fields: dict[str, Any] = {"fsdp": True, "fsdp_config": sharding} if sharded else {}
    run: Any = OrderedTrainer(
        build_model(method),
        TrainingArguments(
            str(folder / f"trainer-{sharded}"),
            per_device_train_batch_size=ROWS // size // 2,
            gradient_accumulation_steps=2,
            max_steps=STEPS,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            report_to=[],
            **fields,
        ),
        train_dataset=[{"input_ids": row, "labels": row} for row in batches().flatten(0, 1).tolist()],  # type: ignore[arg-type, unused-ignore]
        optimizer_cls_and_kwargs=(lambda: build_optimizer, {"method": method}),  # type: ignore[arg-type, unused-ignore]
    )
    run.train()
    assert is_sharded(run.model) == sharded
    losses = [event["loss"] for event in run.state.log_history if "loss" in event]
    return losses, whole(trained(run.model)), sora_step(run.optimizer)


def jobs(folder: Path) -> dict[str, Callable[[int, int], Result]]:
    """What the pair does, by name: "way method"."""
    found: dict[str, Callable[[int, int], Result]] = {}

    def add(way: str, method: str, function: Callable[..., Result], **fields: Any) -> None:
        found[f"{way} {method}"] = lambda rank, size: function(method, rank, size, **fields)

    for method in ("qaa", "qaa-shared", "sora", "sora-lr", "control"):
        add("ddp", method, ddp)
    for method in ("qaa", "qaa-shared", "sora"):
        add("ddp-accumulating", method, ddp, micro_batches=2)
        add("ddp-checkpointed", method, ddp, checkpointed=True)
    for method in ("qaa", "qaa-shared", "sora", "sora-reference", "control"):
        add("fsdp2", method, fsdp2)
    for method in ("qaa", "sora"):
        add("fsdp1", method, fsdp1)
    add("zero-redundancy", "sora", zero_redundancy)
    for method in ("qaa", "sora"):
        add("accelerate-ddp", method, accelerated, folder=folder, sharded=False)
        add("accelerate-fsdp2", method, accelerated, folder=folder, sharded=True)
        add("trainer-ddp", method, trainer, folder=folder, sharded=False)
        add("trainer-fsdp2", method, trainer, folder=folder, sharded=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    into = Path(sys.argv[1])
    report_and_leave(jobs(into), into)
