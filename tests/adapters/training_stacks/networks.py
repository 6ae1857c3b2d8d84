"""A small network with SoRA's gates, and steps of training."""

from typing import Any

import peft
import torch
from torch import Tensor, nn

from amplitune import SoRAConfig
from amplitune.adapters.sora.layer import SoRALayer


def network(**fields: Any) -> Any:
    """Two linear layers with three gates each; weights and gates are the same each time."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 4))
    return peft.get_peft_model(net, SoRAConfig(r=3, target_modules=["0", "2"], init_weights=False, **fields))


def gates(model: nn.Module) -> Tensor:
    """All gates in a row, copied."""
    layers = [module for module in model.modules() if isinstance(module, SoRALayer)]
    return torch.cat([layer.sora_gate["default"].detach().clone() for layer in layers])


def gate_group(optimizer: Any) -> dict[str, Any]:
    """The only group of gates."""
    (group,) = [group for group in optimizer.param_groups if "sora_step" in group]
    return group


def rows(seed: int, count: int = 8) -> Tensor:
    """A batch of input."""
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
