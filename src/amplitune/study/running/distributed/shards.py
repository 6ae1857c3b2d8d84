"""Tensors that are split over processes, made whole, and whole ones split."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(value: Tensor, keep: bool = True) -> Tensor:
    """The whole of a tensor, on the CPU where it was split; every process asks for it at the same point.

    Args:
        value: any tensor; one that is not split is given back as it is.
        keep: False for a process that only gives its part, and gets an empty tensor.
    """
    if not isinstance(value, DTensor):
        return value
    full = value.full_tensor()
    return full.cpu() if keep else full.new_empty(0)


def split_like(value: Tensor, like: Tensor) -> Tensor:
    """Cut this process's part out of a whole tensor that every process has.

    Args:
        value: the whole tensor.
        like: a tensor of the same shape; where it is not split, the whole is given back.
    """
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device, like.dtype)
    # None: nobody sends, each process cuts its part out of what it has.
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def whole_state(state: Any, keep: bool = True) -> Any:
    """An optimizer's state with every tensor whole; every process asks for it at the same point.

    Args:
        state: its state dict, or a part of it.
        keep: as for `whole`.
    """
    if isinstance(state, Tensor):
        return whole(state, keep)
    if isinstance(state, Mapping):
        return {key: whole_state(value, keep) for key, value in state.items()}
    if isinstance(state, list):
        return [whole_state(value, keep) for value in state]
    return state


def load_whole_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Give an optimizer its part of a whole state.

    Args:
        optimizer: of parameters that may be split.
        state: as `whole_state` of the state dict of an optimizer of the same parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parts = {
        index: {
            name: split_like(value, parameters[index])
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": parts})
