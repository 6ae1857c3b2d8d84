"""torch's own transformer layers, which at inference read the weights of layers that they do not call."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import METHODS
from torch import nn

from amplitune.errors import ConfigError


@pytest.fixture
def config(method: str) -> Callable[..., Any]:
    return lambda **fields: METHODS[method](**{"init_weights": False} | fields)


def layer() -> Any:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()


def test_an_adapter_acts_at_inference_where_torch_has_a_fast_path(config: Callable[..., Any]) -> None:
    net, x = nn.Sequential(layer()).eval(), torch.randn(2, 3, 8)
    with torch.no_grad():
        base = net(x)
        model = get_peft_model(net, config(target_modules=["linear1", "linear2"])).eval()
        adapted = model(x)
        assert (adapted - base).abs().max() > 1e-3
        with model.disable_adapter():
            torch.testing.assert_close(model(x), base)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            torch.testing.assert_close(model(x), adapted)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)


def test_padded_batches_at_inference_are_those_of_training(config: Callable[..., Any]) -> None:
    net = nn.TransformerEncoder(layer(), 2, enable_nested_tensor=True).eval()
    padding = torch.tensor([[False, False, True], [False, False, False]])
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        model = get_peft_model(net, config(target_modules=["linear1"])).eval()
        found = model(x, src_key_padding_mask=padding)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0
        expected = model.train()(x, src_key_padding_mask=padding)
    torch.testing.assert_close(found[~padding], expected[~padding])


@pytest.mark.parametrize("targets", ["all-linear", ["out_proj"], ["linear1", "out_proj"]])
def test_projections_that_are_never_called_are_refused(
    config: Callable[..., Any], targets: list[str] | str
) -> None:
    net = nn.Sequential(layer())
    names = [name for name, _ in net.named_modules()]
    with pytest.raises(ConfigError, match="MultiheadAttention reads the weights of its projections"):
        get_peft_model(net, config(target_modules=targets))
    if targets != "all-linear":
        assert [name for name, _ in net.named_modules()] == names


def test_all_linear_takes_the_others(config: Callable[..., Any]) -> None:
    net = nn.Sequential(layer())
    model = get_peft_model(net, config(target_modules="all-linear", exclude_modules=["out_proj"]))
    assert model.base_model.targeted_module_names == ["0.linear1", "0.linear2"]


@pytest.mark.parametrize("method", ["qaa", "control"])
def test_a_branch_without_a_weight_is_refused(method: str) -> None:
    net = nn.Sequential(layer())
    names = [name for name, _ in net.named_modules()]
    with pytest.raises(
        ConfigError, match=r"0.self_attn is Multi.*this method has no weight.*SoRAConfig goes"
    ):
        get_peft_model(net, METHODS[method](target_modules=["linear1", "self_attn"]))
    assert [name for name, _ in net.named_modules()] == names
