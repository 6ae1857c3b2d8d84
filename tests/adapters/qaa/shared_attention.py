"""A small attention whose projections share a circuit, and what its tests compare it by."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from amplitune import QAAConfig
from amplitune.adapters.qaa import shared
from amplitune.adapters.qaa.layer import QAALinear
from amplitune.quantum import expectation

QKV = ["q_proj", "k_proj", "v_proj"]


class Attention(nn.Module):
    """Three projections of one input, and what an attention needs of them is their sum."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, 4) for _ in QKV)

    def forward(self, x: Tensor, between: Any = None) -> Tensor:
        h = torch.tanh(x)
        total: Tensor = self.q_proj(h)
        if between is not None:
            h = between(h)
        return total + self.k_proj(h) * 2 + self.v_proj(h) * 3


def attention(**overrides: Any) -> Any:
    fields: dict[str, Any] = {"target_modules": QKV, "init_weights": False, "share_circuit": True}
    net = nn.Sequential(Attention())
    model: Any = peft.get_peft_model(net, QAAConfig(**fields | overrides))
    return model.base_model.model[0]


def layers_of(model: nn.Module) -> list[QAALinear]:
    return [module for module in model.modules() if isinstance(module, QAALinear)]


def unshared(model: nn.Module) -> Any:
    """The same model with each circuit by itself, the angles copied."""
    model = copy.deepcopy(model)
    for layer in layers_of(model):
        for adapter in list(layer.qaa_shared):
            layer.qaa_angles[adapter] = nn.Parameter(layer.angles_of(adapter).detach().clone())
        layer.qaa_shared.clear()
    return model


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """The inputs of all circuits that run in shared layers."""
    inputs: list[Tensor] = []

    def record(x: Tensor, *arguments: Any) -> Tensor:
        inputs.append(x)
        return expectation(x, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(shared, "expectation", record)
        yield inputs


def gradients(model: nn.Module, x: Tensor, **kwargs: Any) -> list[Tensor]:
    x = x.detach().requires_grad_()
    trained = [x, *(parameter for parameter in model.parameters() if parameter.requires_grad)]
    # Not torch.autograd.grad, which re-entrant checkpoints refuse.
    model(x, **kwargs).square().sum().backward()
    found = [parameter.grad.clone() for parameter in trained if parameter.grad is not None]
    model.zero_grad()
    return found
