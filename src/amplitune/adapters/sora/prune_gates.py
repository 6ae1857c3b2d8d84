"""The removal of zero gates, with their rows of A and B, from a SoRA adapter that goes on training."""

import copy
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from amplitune.adapters.patterns import exact_key
from amplitune.adapters.sora.adapted import adapted_models
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.gates import check_whole, sora_layers, targets_of
from amplitune.adapters.sora.layer import SoRALayer
from amplitune.errors import ConfigError


@dataclass(frozen=True)
class _Cut:
    """What a parameter keeps: for each group of a convolution, else for one group, the indices of ranks."""

    name: str
    parameter: nn.Parameter
    ranks_first: bool
    kept: Tensor

    @property
    def size(self) -> int:
        return self.kept.numel() if self.ranks_first else self.kept.shape[1]

    @property
    def is_smaller(self) -> bool:
        return self.size < self.parameter.shape[0 if self.ranks_first else 1]

    def of(self, tensor: Tensor) -> Tensor:
        groups, kept = len(self.kept), self.kept.to(tensor.device)
        if self.ranks_first:
            first = torch.arange(groups, device=kept.device) * (len(tensor) // groups)
            return tensor.index_select(0, (kept + first[:, None]).flatten())
        rows = kept.repeat_interleave(len(tensor) // groups, dim=0)
        return tensor.gather(
            1, rows.view(*rows.shape, *[1] * (tensor.dim() - 2)).expand(-1, -1, *tensor.shape[2:])
        )


@torch.no_grad()
def prune_gates(model: nn.Module, optimizer: Optimizer | None = None, adapter_name: str = "default") -> int:
    """Remove the gates that are zero, their part of A and B, and what the optimizer has of it.

    The output stays as it is, to float precision. Ranks differ between modules afterwards: the adapter's
    config has them in `rank_pattern`, and in `alpha_pattern` the alphas that keep each scale lora_alpha / r,
    so that a saved adapter loads as usual. A module whose gates are all zero keeps one of them: it stays a
    target, and no target has rank 0. A convolution with groups keeps as many in each group as the fullest
    one has, and a MultiheadAttention as many in both of its projections.

    A zero gate has a gradient and may come back; a removed one cannot. The paper prunes once, after training:
    prune before its end where a gate that became zero shall stay so.

    Parameters stay the same objects with smaller data. What remembers their shapes must be made again: with
    DistributedDataParallel, prune the model inside of it in all processes and wrap that anew, or the
    gradients of what was cut differ between processes from then on. To resume from a checkpoint, open the
    adapter with `PeftModel.from_pretrained(base, checkpoint, is_trainable=True)`, which reads the ranks.

    Args:
        model: a PeftModel with SoRA adapters, or a module that has one inside.
        optimizer: the optimizer that trains them, called between two of its steps; None if there is none.
        adapter_name: the adapter.

    Returns:
        The number of gates removed.

    Raises:
        ConfigError: the model has no such adapter or is in DistributedDataParallel or FSDP 1, its parameters
            are sharded over processes or shared between modules with other zero gates, or the optimizer does
            not train them or keeps a state that cannot be cut; nothing is changed.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, section 3.2, where it is done once, after training.

    Example:
        >>> import peft
        >>> net = nn.Sequential(nn.Linear(4, 4))
        >>> model = peft.get_peft_model(net, SoRAConfig(r=3, lora_alpha=6, target_modules=["0"]))
        >>> _ = net[0].sora_gate["default"].data[1:].zero_()
        >>> prune_gates(model), net[0].sora_A["default"].shape
        (2, torch.Size([1, 4]))
        >>> model.peft_config["default"].rank_pattern, model.peft_config["default"].alpha_pattern
        ({'^0': 1}, {'^0': 2.0})
    """
    cuts: dict[int, _Cut] = {}
    ranks: dict[str, int] = {}
    layers = dict(sora_layers(model, adapter_name))
    targets = targets_of(layers)
    owners = adapted_models(model, layers)
    for name, owner in owners.items():
        if adapter_name not in owner.configs:
            raise ConfigError(
                f"`model` must have the adapter's config, which is to keep the ranks, but {name} belongs to "
                "no PeftModel in it. Give the whole PeftModel."
            )
    fullest: Counter[str] = Counter()
    in_ddp = any(isinstance(module, DistributedDataParallel) for module in model.modules())
    for name, layer in layers.items():
        check_whole(name, layer, adapter_name)
        if in_ddp or hasattr(layer.sora_gate[adapter_name], "_fsdp_flattened"):
            raise ConfigError(
                "`model` must not be in DistributedDataParallel or in FSDP of version 1, whose buffers have "
                f"fixed shapes, but {name} is. Prune after training, or for DistributedDataParallel give the "
                "model inside of it (model.module) and wrap that anew afterwards."
            )
        fullest[targets[name]] = max(
            fullest[targets[name]], _fullest(layer.sora_gate[adapter_name], _groups(layer))
        )
    for name, layer in layers.items():
        kept = _kept(layer.sora_gate[adapter_name], _groups(layer), fullest[targets[name]])
        ranks[targets[name]] = kept.numel()
        for attribute in layer.adapter_layer_names:
            parameter = getattr(layer, attribute)[adapter_name]
            cut = _Cut(f"{name}.{attribute}", parameter, attribute != "sora_B", kept)
            known = cuts.setdefault(id(parameter), cut)
            if not torch.equal(known.kept, kept):
                raise ConfigError(
                    f"Modules that share parameters must have the same zero gates, but {known.name} and "
                    f"{cut.name} are one parameter and keep {known.size} and {cut.size} ranks. Share the "
                    "gates too, or do not prune during training."
                )
    cuts = {key: cut for key, cut in cuts.items() if cut.is_smaller}
    removed = {
        cut.name.removesuffix(".sora_gate"): cut.parameter.numel() - cut.size
        for cut in cuts.values()
        if cut.name.endswith(".sora_gate")
    }
    if not cuts:
        return 0
    if optimizer:
        _check_trains(optimizer, cuts.values())
    states = {key: _cut_state(cut, optimizer) for key, cut in cuts.items()} if optimizer else {}
    for key, cut in cuts.items():
        data, gradient = cut.parameter.data, cut.parameter.grad
        cut.parameter.grad = None
        # A loss that is still at hand keeps autograd's accumulator of this gradient, which knows the old
        # shape; data of another type make autograd forget it.
        cut.parameter.data = data.new_empty(
            0, dtype=torch.float16 if data.element_size() > 2 else torch.float32
        )
        cut.parameter.data = cut.of(data)
        if gradient is not None:
            cut.parameter.grad = cut.of(gradient)
        if optimizer and key in states:
            optimizer.state.get(cut.parameter, {}).update(states[key])
    for owner in set(owners.values()):
        own = {owner.module_name(name): rank for name, rank in ranks.items() if owners[name] is owner}
        gone = sum(count for name, count in removed.items() if owners[name] is owner)
        owner.configs[adapter_name] = _with_ranks(owner.configs[adapter_name], own, gone)
    for group in optimizer.param_groups if optimizer else ():
        if group.get("sora_adapter") == adapter_name:
            group["sora_gates"] = sum(gate.numel() for gate in group["params"])
    return sum(removed.values())


def _groups(layer: SoRALayer) -> int:
    groups: int = getattr(layer.get_base_layer(), "groups", 1)
    return groups


def _fullest(gate: Tensor, groups: int) -> int:
    """Count the gates of the group that has the most, zero as one."""
    return max(int(gate.ne(0).view(groups, -1).sum(dim=1).max()), 1)


def _kept(gate: Tensor, groups: int, ranks: int) -> Tensor:
    """Choose the ranks to keep in each group, those with a gate first: (groups, ranks), ascending."""
    is_zero = gate.eq(0).view(groups, -1)
    return is_zero.to(torch.uint8).sort(dim=1, stable=True).indices[:, :ranks].sort(dim=1).values


def _check_trains(optimizer: Optimizer, cuts: Iterable[_Cut]) -> None:
    """Raise unless the optimizer steps one of the parameters, if any of them is trained."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    trained = [cut.parameter for cut in cuts if cut.parameter.requires_grad]
    if trained and held.isdisjoint(map(id, trained)):
        raise ConfigError(
            f"`optimizer` must be the one that trains the adapter, but this {type(optimizer).__name__} has "
            "none of its parameters: it was made for another model, or has copies of its own, as DeepSpeed "
            "does. Give that optimizer, or prune after training."
        )


def _cut_state(cut: _Cut, optimizer: Optimizer) -> dict[str, Tensor]:
    """Cut the moments that an optimizer has of a parameter, without changing them yet."""
    cut_tensors = {}
    for key, value in optimizer.state.get(cut.parameter, {}).items():
        # A subclass, such as torchao's of 8 bits, has what it computes with in other tensors.
        if type(value) in (Tensor, nn.Parameter) and value.shape == cut.parameter.shape:
            cut_tensors[key] = cut.of(value)
        elif isinstance(value, Tensor | list | dict) and not (
            isinstance(value, Tensor) and value.numel() == 1
        ):
            kind = type(value).__name__ + (f" {tuple(value.shape)}" if isinstance(value, Tensor) else "")
            raise ConfigError(
                f"`optimizer` must keep plain tensors of its parameters' shapes to be pruned with them, but "
                f"{type(optimizer).__name__} has {key!r} ({kind}) for {cut.name} of shape "
                f"{tuple(cut.parameter.shape)}. Use an optimizer such as torch.optim.AdamW, or prune without "
                "`optimizer` and create a new one."
            )
    return cut_tensors


def _with_ranks(config: SoRAConfig, ranks: dict[str, int], removed: int) -> SoRAConfig:
    """Write ranks into a copy of the config: the user's own may serve for another model."""
    alphas = {name: config.alpha_of(name) * (rank / config.rank_of(name)) for name, rank in ranks.items()}
    changed = copy.copy(config)
    # Exact keys only: peft sorts the keys when it saves a config, and the first that matches counts.
    changed.rank_pattern = {exact_key(name): rank for name, rank in ranks.items() if rank != config.r}
    changed.alpha_pattern = {
        exact_key(name): alpha
        for name, alpha in alphas.items()
        if not math.isclose(alpha, config.lora_alpha, rel_tol=1e-12)
    }
    changed.pruned_gates = config.pruned_gates + removed
    return changed
