"""SoRA around convolutions: its formula at every edge of the base layer, merging, pruning, refusals."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from transformers.models.bit.modeling_bit import WeightStandardizedConv2d

from amplitune import SoRAConfig, count_parameters, create_sora_optimizer, gate_sparsity, prune_to_lora
from amplitune.adapters.sora.convolution import SoRAConvolution
from amplitune.errors import ConfigError, NotMergeableError

BASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "1x1": (lambda: nn.Conv2d(4, 6, 1), (3, 2)),
    "1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), (7,)),
    "2d": (lambda: nn.Conv2d(4, 6, (2, 3), stride=(1, 2), padding=(0, 1), bias=False), (5, 6)),
    "3d": (lambda: nn.Conv3d(4, 6, 2, padding=1), (3, 2, 4)),
    "dilation": (lambda: nn.Conv2d(4, 6, 2, dilation=(2, 1)), (5, 5)),
    "same": (lambda: nn.Conv2d(4, 6, (3, 2), padding="same"), (4, 5)),
    "reflect": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 5)),
    "circular": (lambda: nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular"), (5,)),
    "groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5)),
    "depthwise": (lambda: nn.Conv1d(4, 4, 3, groups=4), (6,)),
}


@pytest.fixture(params=sorted(BASES))
def case(request: pytest.FixtureRequest) -> tuple[Any, Tensor]:
    make, size = BASES[request.param]
    return make().double(), torch.randn(2, 4, *size, dtype=torch.float64)


def wrapped(base: nn.Module, **fields: Any) -> Any:
    options: dict[str, Any] = {"r": 4, "target_modules": ["0"], "init_weights": False}
    return get_peft_model(nn.Sequential(base), SoRAConfig(**options | fields)).eval()


def layer_of(model: Any) -> Any:
    found: Any = next(module for module in model.modules() if isinstance(module, SoRAConvolution))
    return found


def test_the_branch_is_a_change_of_the_weight(case: tuple[Any, Tensor]) -> None:
    base, x = case
    model = wrapped(base, lora_alpha=5)
    layer = layer_of(model)
    delta = layer.get_delta_weight("default")
    assert delta.shape == base.weight.shape
    expected = base._conv_forward(x, base.weight + delta, base.bias)
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model(x[0]), expected[0])
    torch.testing.assert_close(layer.branch(x, "default"), expected - base(x))


def test_the_formula_group_by_group(case: tuple[Any, Tensor]) -> None:
    base, _ = case
    layer = layer_of(wrapped(base, lora_alpha=5))
    a, b, gate = (getattr(layer, name)["default"] for name in layer.adapter_layer_names)
    groups = base.groups
    assert a.shape == (4, 4 // groups, *base.kernel_size)
    assert b.shape == (base.out_channels, 4 // groups, *[1] * len(base.kernel_size))
    parts = zip(b.chunk(groups), gate.chunk(groups), a.chunk(groups), strict=True)
    expected = [5 / 4 * b_g.flatten(1) @ torch.diag(g_g) @ a_g.flatten(1) for b_g, g_g, a_g in parts]
    torch.testing.assert_close(layer.get_delta_weight("default").flatten(1), torch.cat(expected))


@pytest.mark.parametrize("safe_merge", [False, True])
def test_merge_and_unmerge(case: tuple[Any, Tensor], safe_merge: bool) -> None:
    base, x = case
    weight, before = base.weight.clone(), base(x)
    model = wrapped(base)
    adapted = model(x)
    assert (adapted - before).abs().max() > 1e-3
    model.merge_adapter(safe_merge=safe_merge)
    torch.testing.assert_close(base(x), adapted)
    torch.testing.assert_close(model(x), adapted)
    model.unmerge_adapter()
    torch.testing.assert_close(base.weight, weight)
    torch.testing.assert_close(model.merge_and_unload()(x), adapted)


def test_a_fresh_adapter_changes_nothing_and_learns(case: tuple[Any, Tensor]) -> None:
    base, x = case
    expected = base(x)
    model = wrapped(base, init_weights=True)
    assert torch.equal(model(x), expected)
    optimizer = create_sora_optimizer(model, lr=1e-2, sparse_lambda=1e-3)
    losses = []
    for _ in range(3):
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert gate_sparsity(model).gates == 4
    per_rank = 4 // base.groups * base.weight[0, 0].numel()
    assert count_parameters(model).trainable == 4 * (per_rank + 1) + base.out_channels * 4 // base.groups


@pytest.mark.parametrize("name", ["1x1", "1d", "2d", "3d", "same", "groups", "depthwise"])
def test_prune_to_lora(name: str) -> None:
    make, size = BASES[name]
    base, x = make(), torch.randn(2, 4, *size)
    model = wrapped(base)
    gate = layer_of(model).sora_gate["default"]
    with torch.no_grad():
        # Of two groups, one keeps two ranks and the other one.
        gate[1] = 0.0
    expected = model(x)
    lora: Any = prune_to_lora(model)
    config = lora.peft_config["default"]
    assert isinstance(config, LoraConfig)
    assert config.r == (4 if base.groups > 1 else 3)
    torch.testing.assert_close(lora(x), expected)
    if base.groups == 1:
        torch.testing.assert_close(lora.merge_and_unload()(x), expected)


@pytest.mark.parametrize("name", ["dilation", "reflect", "circular"])
def test_what_pefts_lora_does_not_take_over_is_not_pruned_to_it(name: str) -> None:
    make, size = BASES[name]
    x = torch.randn(2, 4, *size)
    model = wrapped(make())
    expected = model(x)
    with pytest.raises(ConfigError, match=r"which peft's LoRA does not take over. Merge the adapter instead"):
        prune_to_lora(model)
    assert torch.equal(model(x), expected)


def test_the_branch_is_float32_in_a_half_precision_model() -> None:
    model = wrapped(nn.Conv2d(4, 6, 3).to(torch.bfloat16))
    layer = layer_of(model)
    x = torch.randn(2, 4, 5, 5, dtype=torch.bfloat16)
    assert layer.branch(x, "default").dtype == torch.float32
    assert model(x).dtype == torch.bfloat16
    model.merge_adapter()
    assert layer.get_base_layer().weight.dtype == torch.bfloat16


def test_dropout_acts_in_training_only() -> None:
    model = wrapped(nn.Conv2d(4, 6, 3), lora_dropout=0.5).train()
    x = torch.ones(1, 4, 5, 5)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_ranks_that_the_groups_cannot_share_are_refused_before_anything_is_wrapped() -> None:
    net: Any = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, groups=3))
    with pytest.raises(
        ConfigError, match="`r` must be divisible by the 3 groups of the convolution 1, but is 4"
    ):
        get_peft_model(net, SoRAConfig(r=4, target_modules=["0", "1"]))
    assert type(net[0]) is nn.Conv2d
    get_peft_model(net, SoRAConfig(r=4, target_modules=["0", "1"], rank_pattern={"1": 3}))
    assert [len(layer.sora_gate["default"]) for layer in net] == [4, 3]


def test_a_convolution_that_does_something_else_is_refused() -> None:
    net = nn.Sequential(WeightStandardizedConv2d(4, 6, 3))
    with pytest.raises(ConfigError, match="0 is a WeightStandardizedConv2d with a `forward` of its own"):
        get_peft_model(net, SoRAConfig(target_modules=["0"]))


def test_a_computed_weight_takes_an_adapter_but_no_merge() -> None:
    net = nn.Sequential(OrderedDict(conv=weight_norm(nn.Conv1d(4, 6, 3))))
    x = torch.randn(2, 4, 5)
    model: Any = get_peft_model(net, SoRAConfig(target_modules=["conv"], init_weights=False))
    adapted = model(x)
    with pytest.raises(NotMergeableError, match="computes its weight from other tensors"):
        model.merge_and_unload()
    assert torch.equal(model(x), adapted)
