"""The trainer's arguments for several processes per run."""

from typing import Any

import torch

from amplitune.study.settings.config import RunSpec


def distributed_arguments(spec: RunSpec, model: torch.nn.Module) -> dict[str, Any]:
    """The arguments that several processes add to those of one.

    Args:
        spec: the run.
        model: what it trains.

    Returns:
        Fields of transformers' TrainingArguments.
    """
    arguments: dict[str, Any] = {"use_cpu": not torch.cuda.is_available()}
    if spec.distributed == "fsdp":
        # FSDP2 shards tensor by tensor, whatever mixture of trained and frozen ones a module holds.
        sharding: dict[str, Any] = {"version": 2}
        if layers := layer_classes(model):
            sharding |= {
                "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
                "transformer_layer_cls_to_wrap": layers,
            }
        else:
            sharding["auto_wrap_policy"] = "NO_WRAP"
        arguments |= {"fsdp": True, "fsdp_config": sharding}
    return arguments


def layer_classes(model: torch.nn.Module) -> list[str]:
    """The classes of a model's layers, each of which is gathered when its turn comes.

    Those that hold an embedding are left out: accelerate 1.15 shards embeddings apart, and fails where they
    are inside of another such module (those of BERT).

    Args:
        model: a transformers model, or one that peft has wrapped.
    """
    named = set(getattr(model, "_no_split_modules", None) or ())
    present = {type(module).__name__ for module in model.modules()} & named
    return sorted(
        name
        for name in present
        if not any(
            isinstance(part, torch.nn.Embedding)
            for module in model.modules()
            if type(module).__name__ == name
            for part in module.modules()
        )
    )
