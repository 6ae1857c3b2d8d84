"""The linear layers tested at the edges: each method, several circuits, and the kernels that run them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import peft
import pytest
import torch
from tests.quantum.kernels.native_cases import needs_compiler
from torch import Tensor, nn

from amplitune import ControlConfig, QAAConfig, SoRAConfig
from amplitune.quantum.kernels.dispatch import kernel

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Case:
    """A method's config, the kernel that runs its circuit, whether the branch ignores the input's size."""

    make: Callable[..., Any]
    kernel: str | None = None
    scale_free: bool = False

    def running(self) -> AbstractContextManager[None]:
        """Run circuits by the kernel of the case."""
        return kernel(self.kernel) if self.kernel else nullcontext()


def _qaa(**fields: Any) -> Callable[..., Any]:
    return lambda **more: QAAConfig(**fields | more)


def _control(features: str, **fields: Any) -> Callable[..., Any]:
    return lambda **more: ControlConfig(features=features, **fields | more)


CASES = {
    "qaa-by-rule": Case(_qaa(), scale_free=True),
    "qaa-native": Case(_qaa(), "native", scale_free=True),
    "qaa-torch": Case(_qaa(), "torch", scale_free=True),
    "restore-native": Case(_qaa(norm="restore", depth=2, circuits=2), "native"),
    "restore-torch": Case(_qaa(norm="restore", depth=2, circuits=2), "torch"),
    "complex": Case(_qaa(rotation="Rot", depth=2, readout="XYZ"), "torch", scale_free=True),
    "reuploading": Case(_qaa(depth=2, reuploading=True), "torch", scale_free=True),
    "probabilities": Case(_qaa(readout="probabilities"), "torch", scale_free=True),
    "interferometric": Case(_qaa(readout="interferometric"), scale_free=True),
    "linear": Case(_qaa(readout="interferometric", norm="restore")),
    "sora": Case(SoRAConfig),
    "givens": Case(_control("givens"), scale_free=True),
    "squares": Case(_control("squares", norm="restore")),
    "projection": Case(_control("projection")),
}

EACH_CASE = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=needs_compiler if case.kernel == "native" else ())
        for name, case in CASES.items()
    ],
)


@cache
def layer_of(
    case: Case, d_in: int = 24, d_out: int = 7, dtype: torch.dtype = torch.float32, **fields: Any
) -> Any:
    """One linear layer with an adapter that is not the identity; the same weights in each dtype."""
    torch.manual_seed(3)
    model: Any = peft.get_peft_model(
        nn.Sequential(nn.Linear(d_in, d_out)), case.make(target_modules=["0"], init_weights=False, **fields)
    )
    layer = model.base_model.model[0].eval()
    layer.base_layer.to(dtype)
    return layer.double() if dtype == torch.float64 else layer


def rows(tokens: int = 5, d_in: int = 24, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normally distributed inputs."""
    return torch.randn(tokens, d_in, generator=torch.Generator().manual_seed(1)).to(dtype)


def run(layer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """y and dL/dx of L = the sum of y squared."""
    x = x.detach().clone().requires_grad_()
    y = layer(x)
    (dx,) = torch.autograd.grad(y.double().square().sum(), x)
    return y.detach(), dx


def branch(layer: Any, x: Tensor) -> Tensor:
    """What the adapter adds, in its own precision."""
    out: Tensor = layer.branch(x, "default")
    return out.detach()


def trained(layer: Any) -> dict[str, nn.Parameter]:
    """The adapter's parameters by name."""
    return {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
