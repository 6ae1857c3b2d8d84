"""Weighted sums of SoRA adapters: their ranks side by side, added up, or the largest singular values."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from amplitune.adapters.patterns import exact_key
from amplitune.adapters.sora.gates import targets_of
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.adapters.tuner import AdapterTuner
from amplitune.adapters.weighted import adapted_layers, add_adapter, common_fields
from amplitune.errors import ConfigError, check_integer

COMBINATION_TYPES = ("cat", "linear", "svd")


@dataclass(frozen=True)
class LowRank:
    """A change of weight B diag(g) A, group by group, without its scale; only convolutions have groups.

    Args:
        a: shape (groups, r / groups, columns).
        b: shape (groups, rows, r / groups).
        gate: shape (groups, r / groups).
    """

    a: Tensor
    b: Tensor
    gate: Tensor

    @property
    def rank(self) -> int:
        """The number of gates r, of all groups together."""
        return self.gate.numel()


def concatenate(changes: Sequence[LowRank], weights: Sequence[float]) -> LowRank:
    """Put ranks side by side: the exact sum, each rank with the gate it has.

    A = (A_1; A_2; ...),   g = (g_1, g_2, ...),   B = (w_1 B_1, w_2 B_2, ...)
    """
    return LowRank(
        torch.cat([change.a for change in changes], dim=1),
        torch.cat([change.b * weight for change, weight in zip(changes, weights, strict=True)], dim=2),
        torch.cat([change.gate for change in changes], dim=1),
    )


def add_up(changes: Sequence[LowRank], weights: Sequence[float]) -> LowRank:
    """Add factors of the same rank up, as peft's "linear" does: no sum of the changes, B_i A_j come in too.

    A = sum sign(w_i) sqrt(|w_i|) A_i,   B = sum sqrt(|w_i|) B_i diag(g_i),   g = 1
    """
    roots = [abs(weight) ** 0.5 for weight in weights]
    signs = [-1 if weight < 0 else 1 for weight in weights]
    a = sum(change.a * root * sign for change, root, sign in zip(changes, roots, signs, strict=True))
    b = sum(change.b * change.gate[:, None] * root for change, root in zip(changes, roots, strict=True))
    assert isinstance(a, Tensor)
    assert isinstance(b, Tensor)
    return LowRank(a, b, torch.ones_like(changes[0].gate))


def largest(changes: Sequence[LowRank], weights: Sequence[float], rank: int | None) -> LowRank:
    """Keep the largest singular values of the exact sum; they become the gates.

        sum w_i B_i diag(g_i) A_i = U diag(S) V,   A = V,   g = S,   B = U, each cut to the rank

    The sum's rank is at most that of its factors, so they are decomposed, not the matrix.

    Args:
        changes: the changes.
        weights: w_i, each times the scale of its change.
        rank: the new number of gates, of all groups together; None for that of the largest change.
    """
    whole = concatenate(changes, weights)
    groups, dtype = len(whole.gate), whole.a.dtype
    left, upper = torch.linalg.qr((whole.b * whole.gate[:, None]).double())
    right, lower = torch.linalg.qr(whole.a.double().mT)
    u, s, v = torch.linalg.svd(upper @ lower.mT, full_matrices=False)
    wanted = max(change.rank for change in changes) if rank is None else rank
    kept = min(max(1, wanted // groups), s.shape[-1])
    return LowRank(
        (v[:, :kept] @ right.mT).to(dtype), (left @ u[..., :kept]).to(dtype), s[:, :kept].to(dtype)
    )


def combine_ranks(
    tuner: AdapterTuner,
    adapters: Sequence[str],
    weights: Sequence[float],
    adapter_name: str,
    combination_type: str,
    svd_rank: int | None,
) -> None:
    """Add an adapter made of others' ranks.

    Args:
        tuner: the tuner.
        adapters: the adapters.
        weights: their weights.
        adapter_name: the new adapter's name.
        combination_type: "cat", "linear" or "svd".
        svd_rank: for "svd", the new rank of every module.

    Raises:
        ConfigError: the ranks differ for "linear", or an argument is wrong; nothing has been added.
    """
    if svd_rank is not None:
        check_integer("svd_rank", svd_rank, 1)
        if combination_type != "svd":
            raise ConfigError(
                f"`svd_rank` must be left unset with combination_type: {combination_type!r}, but is "
                f"{svd_rank}. It is the rank of 'svd'."
            )
    ways: dict[str, Callable[[Sequence[LowRank], Sequence[float]], LowRank]] = {
        "cat": concatenate,
        "linear": add_up,
        "svd": partial(largest, rank=svd_rank),
    }
    layers = adapted_layers(tuner, adapters)
    targets = {name: layers[name] for name, target in targets_of(layers).items() if name == target}
    common = common_fields(tuner, adapters, targets)
    combined = {}
    with torch.no_grad():
        for name, layer in layers.items():
            owners = [at for at, adapter in enumerate(adapters) if layer.has_adapter(adapter)]
            changes = [_change(layer, adapters[at]) for at in owners]
            if combination_type == "linear":
                _check_ranks(
                    name, {adapters[at]: change.rank for at, change in zip(owners, changes, strict=True)}
                )
            scaled = [weights[at] * layer.sora_scaling[adapters[at]] for at in owners]
            combined[name] = ways[combination_type](changes, scaled)
    ranks = {name: change.rank for name, change in combined.items() if name in targets}
    configs: list[Any] = [tuner.peft_config[name] for name in adapters]
    common["pruned_gates"] = (
        sum(config.pruned_gates for config in configs) if combination_type == "cat" else 0
    )
    add_adapter(tuner, adapter_name, _config(configs[0], ranks, common), adapters)
    with torch.no_grad():
        for name, layer in layers.items():
            parts = (combined[name].a, combined[name].b, combined[name].gate)
            for attribute, part in zip(layer.adapter_layer_names, parts, strict=True):
                parameter = getattr(layer, attribute)[adapter_name]
                parameter.copy_(part.reshape(parameter.shape))


def _change(layer: SoRALayer, adapter_name: str) -> LowRank:
    a, b, gate = (getattr(layer, name)[adapter_name] for name in layer.adapter_layer_names)
    groups = getattr(layer.get_base_layer(), "groups", 1)
    r = len(gate) // groups
    return LowRank(
        a.reshape(groups, r, -1),
        b.reshape(groups, -1, r),
        gate.view(groups, r),
    )


def _check_ranks(name: str, ranks: Mapping[str, int]) -> None:
    if len(set(ranks.values())) > 1:
        raise ConfigError(
            f"`combination_type` 'linear' needs adapters of the same rank, but the ranks in {name} are "
            f"{ranks}. Use 'cat', which is exact, or 'svd'."
        )


def _config(first: Any, ranks: Mapping[str, int], common: dict[str, Any]) -> Any:
    """Describe the ranks: the most common one is `r`, and the scale is 1 everywhere."""
    r = Counter(ranks.values()).most_common(1)[0][0]
    pattern = {exact_key(name): rank for name, rank in ranks.items() if rank != r}
    return replace(
        first, **common, r=r, lora_alpha=r, rank_pattern=dict(pattern), alpha_pattern=dict(pattern)
    )
