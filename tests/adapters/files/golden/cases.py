"""The golden adapters: their configs, and base models and weights that no random generator makes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from amplitune import ControlConfig, QAAConfig, SoRAConfig

FOLDER = Path(__file__).parent
D_IN, HIDDEN, D_OUT = 11, 14, 6


def numbers(shape: tuple[int, ...], start: int) -> Tensor:
    """Numbers in [-1, 1] without a pattern to the eye: the cosine of three times the square of a count."""
    count = torch.arange(start, start + torch.Size(shape).numel(), dtype=torch.float64)
    return torch.cos(3.0 * count**2).reshape(shape)


class Base(nn.Module):
    """A layer of each kind that has adapters: x (2, 4, 11) -> (2, 4, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(D_IN, HIDDEN), Conv1D(D_OUT, HIDDEN)
        self.head = nn.Linear(D_OUT, 3)
        self.words, self.conv = nn.Embedding(5, 3), nn.Conv2d(1, 2, (2, 3))
        self.q, self.k = nn.Linear(D_IN, 3), nn.Linear(D_IN, 3)
        fill(self, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))
        places: Tensor = self.words(torch.arange(8).reshape(2, 4) % 5)
        pixels: Tensor = self.conv(torch.tanh(x)[:, None]).mean((-1, -2))
        difference: Tensor = (self.q(x) - self.k(x)) / 8
        return out + places + pixels.sum(-1)[:, None, None] + difference


class AttentionBase(nn.Module):
    """torch's attention between two layers: x (2, 4, 11) -> (2, 4, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(D_IN, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        fill(self, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x))
        out: Tensor = self.head(self.attention(hidden, hidden, hidden)[0])
        return out


#: Cases of base models of their own: a module more in Base would change its other cases.
BASES: dict[str, Callable[[], nn.Module]] = {"sora-attention": AttentionBase}


def base(name: str) -> nn.Module:
    """Make the base model of a case."""
    return BASES.get(name, Base)()


@torch.no_grad()
def fill(model: nn.Module, start: int, of: Callable[[str], bool] = lambda name: True) -> None:
    """Fill parameters with numbers of their own, in the order of their names."""
    for name, parameter in sorted(model.named_parameters()):
        if of(name):
            parameter.copy_(numbers(tuple(parameter.shape), start))
            start += parameter.numel()


def inputs() -> Tensor:
    """Rows of several sizes, one of them of zeros: shape (2, 4, 11)."""
    rows = numbers((2, 4, D_IN), 100_000) * torch.tensor([1.0, 1e-3, 50.0, 1.0])[:, None]
    rows[1, 3] = 0
    return rows.float()


def _config(make: Callable[..., Any], **fields: Any) -> Any:
    return make(**{"target_modules": ["first", "second"], **fields})


CONFIGS: dict[str, Callable[[], Any]] = {
    "qaa-paper": lambda: _config(QAAConfig, preset="paper"),
    "qaa-rich": lambda: _config(
        QAAConfig,
        rotation="RYRZ",
        depth=2,
        entangler="all-to-all",
        entangling_gate="CZ",
        rotation_after="Rot",
        reuploading=True,
        readout="XYZ",
        norm="restore",
        circuits=2,
        scaling=0.5,
        up_proj_bias=False,
    ),
    "qaa-words": lambda: _config(
        QAAConfig,
        n_qubits=5,
        rotation="Rot",
        depth=2,
        entangler=[[0, 2], [3, 1], [4, 0]],
        rotation_after="RY",
        readout=["X0", "Y1 Z2", "Z0 Z4"],
        train_angles=False,
    ),
    "qaa-pairs-of-z": lambda: _config(
        QAAConfig, depth=3, entangler="linear", rotation_after="RYRZ", readout="Z+ZZ"
    ),
    "qaa-probabilities": lambda: _config(
        QAAConfig, entangler="none", readout="probabilities", norm="restore"
    ),
    "qaa-interferometric": lambda: _config(QAAConfig, readout="interferometric", depth=2),
    "qaa-patterns": lambda: _config(
        QAAConfig,
        depth_pattern={"second": 2},
        readout_pattern={"first": "XYZ"},
        bias="qaa_only",
        modules_to_save=["head"],
    ),
    "qaa-shared": lambda: _config(QAAConfig, target_modules=["q", "k"], share_circuit=True),
    "qaa-fused": lambda: _config(
        QAAConfig,
        fused_parts={"first": ["q", "v"]},
        fused_layouts={"first": {"groups": 2, "parts": ["q", "k", "v"], "widths": [3, 2, 2]}},
    ),
    "qaa-convolution": lambda: _config(QAAConfig, target_modules=["conv"], depth=2),
    "sora": lambda: _config(SoRAConfig, r=3, lora_alpha=5, modules_to_save=["head"]),
    "sora-patterns": lambda: _config(
        SoRAConfig, rank_pattern={"second": 2}, alpha_pattern={"first": 4}, bias="all"
    ),
    "sora-kinds": lambda: _config(SoRAConfig, r=2, target_modules=["words", "conv"]),
    "sora-attention": lambda: _config(SoRAConfig, r=3, lora_alpha=4, target_modules=["attention"]),
    "control-bias": lambda: _config(ControlConfig, features="bias"),
    "control-projection": lambda: _config(ControlConfig, features="projection", projection_seed=7),
    "control-squares": lambda: _config(ControlConfig, features="squares", width=5, norm="restore"),
    "control-givens": lambda: _config(
        ControlConfig, features="givens", depth=2, rotations=2, circuits=2, scaling=2.0
    ),
}
