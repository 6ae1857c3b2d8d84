"""SoRA in a model that is not a PeftModel itself: compiled, in a wrapper, or a part of a larger module."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.sora.test_prune import keep_ranks
from torch import Tensor, nn
from torch.nn.parallel import DataParallel

from amplitune import SoRAConfig, create_sora_optimizer, gate_sparsity, prune_gates
from amplitune.adapters import gate_penalty
from amplitune.adapters.sora.adapted import adapted_models
from amplitune.errors import ConfigError


class Towers(nn.Module):
    """Two parts that peft adapts by themselves, under the same adapter name."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.base = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
        config = SoRAConfig(r=4, target_modules=["0", "2"], init_weights=False)
        other = SoRAConfig(r=3, target_modules=["0"], init_weights=False, sparse_lambda=0.25)
        self.left: Any = get_peft_model(copy.deepcopy(self.base), config)
        self.right: Any = get_peft_model(copy.deepcopy(self.base), other)

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


def test_each_part_keeps_its_ranks_and_its_lambda(tmp_path: Path) -> None:
    model = Towers()
    keep_ranks(model, [1, 2, 2])
    x = torch.randn(3, 6)
    expected, penalty = model(x), gate_penalty(model)
    optimizer = create_sora_optimizer(model, lr=1e-3)
    groups = [group for group in optimizer.param_groups if "sora_step" in group]
    assert [(group["sparse_lambda"], group["sora_gates"]) for group in groups] == [(3e-4, 8), (0.25, 3)]

    assert prune_gates(model, optimizer) == 6
    torch.testing.assert_close((model(x), gate_penalty(model)), (expected, penalty))
    assert [part.peft_config["default"].rank_pattern for part in (model.left, model.right)] == [
        {"^0": 1, "^2": 2},
        {"^0": 2},
    ]
    assert (gate_sparsity(model).gates, gate_sparsity(model.left).gates) == (11, 8)
    assert [group["sora_gates"] for group in groups] == [3, 2]
    model(x).sum().backward()
    optimizer.step()
    for part in ("left", "right"):
        getattr(model, part).save_pretrained(str(tmp_path / part))
        loaded = PeftModel.from_pretrained(copy.deepcopy(model.base), str(tmp_path / part))
        torch.testing.assert_close(loaded(x), getattr(model, part)(x))


@pytest.mark.parametrize("wrapper", ["compiled", "compiled layer", "DataParallel"])
def test_a_wrapper_is_not_a_part_of_names(wrapper: str) -> None:
    peft_model = Towers().left
    keep_ranks(peft_model, [1, 2])
    model: Any = peft_model
    if wrapper == "compiled":
        model = torch.compile(peft_model, backend="eager")
    elif wrapper == "DataParallel":
        model = DataParallel(peft_model)
    else:
        peft_model.base_model.model[0] = torch.compile(peft_model.base_model.model[0], backend="eager")
    assert create_sora_optimizer(model, lr=1e-3).param_groups[-1]["sora_gates"] == 8
    assert prune_gates(model) == 5
    assert peft_model.peft_config["default"].rank_pattern == {"^0": 1, "^2": 2}
    assert (gate_sparsity(model).gates, gate_sparsity(model).remaining) == (8, 3)


def test_a_part_without_its_config_is_an_error() -> None:
    model = Towers().left
    layer = model.base_model.model[0]
    keep_ranks(model, [1, 2])
    with pytest.raises(ConfigError, match=r"must have the adapter's config.*Give the whole PeftModel"):
        prune_gates(nn.ModuleList([layer]))
    with pytest.raises(ConfigError, match=r"which says how gates shrink, but 0 belongs to no PeftModel"):
        create_sora_optimizer(nn.ModuleList([layer]), lr=1e-3)
    assert layer.sora_gate["default"].shape == (4,)
    assert gate_sparsity(layer).ranks == {"": 1}
    assert not adapted_models(layer, [""])[""].configs
