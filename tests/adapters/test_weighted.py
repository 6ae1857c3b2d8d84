"""Weighted sums of adapters: exact, saved and loaded like any other, and refused where they mean nothing."""

from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from torch import Tensor, nn

from amplitune import ControlConfig, QAAConfig, SoRAConfig
from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError

WEIGHTS = {"default": 0.7, "second": -1.5}
METHODS = ["qaa", "sora", "control"]
SIZES: dict[str, dict[str, Any]] = {
    "qaa": {"circuits": 2, "scaling": 0.5},
    "sora": {"r": 3, "lora_alpha": 5},
    "control": {"scaling": 0.5},
}


def two_adapters(
    method: str, architecture: Architecture, wrap: Wrap, make_config: MakeConfig, **fields: Any
) -> Any:
    """A model with two adapters of different sizes and scales."""
    if method == "control":
        fields = {"features": "squares"} | fields
    model = wrap(method, architecture, **fields)
    torch.manual_seed(7)
    model.add_adapter("second", make_config(method, architecture, **fields | SIZES[method]))
    return model.eval()


def branches(model: Any, weights: dict[str, float]) -> dict[str, Tensor]:
    """The weighted sum of what adapters add, layer by layer, in float64."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, AdapterLayer):
            x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(3)).double()
            parts = [
                weight * layer.branch(x, adapter)
                for adapter, weight in weights.items()
                if layer.has_adapter(adapter)
            ]
            if parts:
                found[name] = torch.stack(parts).sum(dim=0)
    return found


def assert_sum(model: Any, weights: dict[str, float], name: str = "sum") -> None:
    """Compare an adapter with the weighted sum, in every layer that has one of the adapters."""
    got, expected = branches(model, {name: 1.0}), branches(model, weights)
    assert list(got) == list(expected)
    assert got
    for layer, value in expected.items():
        assert value.abs().max() > 1e-3, layer
        torch.testing.assert_close(got[layer], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_the_new_adapter_is_the_weighted_sum_and_is_saved_and_loaded(
    method: str,
    architecture: Architecture,
    wrap: Wrap,
    make_config: MakeConfig,
    tokens: Tensor,
    tmp_path: Any,
) -> None:
    model = two_adapters(method, architecture, wrap, make_config)
    before = model(tokens).logits
    model.add_weighted_adapter(list(WEIGHTS), list(WEIGHTS.values()), "sum")
    assert torch.equal(model(tokens).logits, before)
    assert not any(value.requires_grad for name, value in model.named_parameters() if ".sum" in name)
    model.set_adapter("sum")
    logits = model(tokens).logits
    assert not torch.allclose(logits, before, atol=1e-5)
    model.save_pretrained(str(tmp_path), selected_adapters=["sum"])
    loaded = PeftModel.from_pretrained(architecture.model(), str(tmp_path / "sum")).eval()
    torch.testing.assert_close(loaded(tokens).logits, logits, rtol=0, atol=1e-6)
    assert_sum(model.double(), WEIGHTS)


@pytest.mark.parametrize("method", METHODS)
def test_the_new_adapter_can_be_trained_and_combined_again(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model = two_adapters(method, llama, wrap, make_config)
    model.add_weighted_adapter(["default", "second"], [1, 1], "sum")
    model.set_adapter("sum")
    model(tokens, labels=tokens).loss.backward()
    trained = {name for name, value in model.named_parameters() if value.grad is not None}
    assert trained == {name for name, _ in model.named_parameters() if name.endswith(".sum")}
    model.add_weighted_adapter(["sum", "second", "sum"], [1.0, -1.0, 0.5], "again")
    assert_sum(model.double(), {"default": 1.5, "second": 0.5}, "again")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SoRAConfig(r=3, target_modules=["a", "b"]), SoRAConfig(r=2, target_modules=["b", "c"])),
        (QAAConfig(target_modules=["a", "b"]), QAAConfig(circuits=3, target_modules=["b", "c"])),
        (
            QAAConfig(target_modules=["a"], depth=2, readout="XYZ", up_proj_bias=False),
            QAAConfig(target_modules=["b", "c"], depth=3, depth_pattern={"c": 1}, n_qubits=3),
        ),
        (
            ControlConfig(target_modules=["a", "b"], up_proj_bias=False),
            ControlConfig(target_modules=["b", "c"], features="bias", scaling=0.3),
        ),
        (
            ControlConfig(target_modules=["a"], features="givens", n_qubits=3),
            ControlConfig(target_modules=["b", "c"], features="givens"),
        ),
    ],
)
def test_modules_of_one_adapter_only_are_exact_too(first: Any, second: Any, tmp_path: Any) -> None:
    net = nn.ModuleDict(
        {"a": nn.Linear(6, 4), "b": nn.Linear(5, 4), "c": nn.Linear(8, 4), "d": nn.Linear(8, 2)}
    )
    first.init_weights = second.init_weights = False
    model: Any = get_peft_model(net, first)
    model.add_adapter("second", second)
    model.add_weighted_adapter(["default", "second"], [2.0, 0.5], "sum")
    config = model.peft_config["sum"]
    assert config.target_modules == {"a", "b", "c"}
    assert_sum(model.double(), {"default": 2.0, "second": 0.5})
    model.float().save_pretrained(str(tmp_path), selected_adapters=["sum"])
    fresh = nn.ModuleDict(
        {name: nn.Linear(*size) for name, size in zip("abcd", [(6, 4), (5, 4), (8, 4), (8, 2)], strict=True)}
    )
    loaded: Any = PeftModel.from_pretrained(fresh, str(tmp_path / "sum")).double()
    expected = branches(model.double(), {"sum": 1.0})
    got = branches(loaded, {"default": 1.0})
    assert list(got) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-6)


def test_targets_stay_exact_where_endings_are_not() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4), nn.Linear(4, 4))
    model: Any = get_peft_model(
        net, QAAConfig(target_modules=r"1|0\.0", depth=2, depth_pattern={r"^1": 3}, init_weights=False)
    )
    model.add_adapter("second", QAAConfig(target_modules=["2"], depth=4, init_weights=False))
    model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    assert list(branches(model, {"sum": 1.0})) == [f"base_model.model.{name}" for name in ("0.0", "1", "2")]
    assert_sum(model.double(), {"default": 1.0, "second": 1.0})


@pytest.mark.parametrize("method", METHODS)
def test_wrong_arguments_are_refused_and_nothing_is_added(
    method: str, llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model = two_adapters(method, llama, wrap, make_config)
    expected, state = model(tokens).logits, list(model.state_dict())
    names = ["default", "second"]
    wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((["default", "secnd"], [1, 1], "sum"), {}, "'secnd' does not exist. Did you mean 'second'"),
        (([], [], "sum"), {}, r"`adapters` must be a list .* but is \[\]"),
        ((names, [1.0], "sum"), {}, r"`weights` must be a list with a number for each of the 2 adapters"),
        ((names, [1.0, float("nan")], "sum"), {}, "`weights` must be finite numbers, but has nan"),
        ((names, [1.0, "1"], "sum"), {}, "`weights` must be finite numbers, but has '1'"),
        (
            (names, [1, 1], "sum"),
            {"combination_type": "ties"},
            "`combination_type` must be .*'(cat|linear)'.* is 'ties'",
        ),
        ((names, [1, 1], "sum"), {"density": 0.5}, "`density` must be left unset"),
    ]
    for arguments, options, message in wrong:
        with pytest.raises(ConfigError, match=message):
            model.add_weighted_adapter(*arguments, **options)
    assert len(wrong) == 7
    assert list(model.peft_config) == names
    assert list(model.state_dict()) == state
    # peft leaves a name that is taken as it is.
    model.add_weighted_adapter(["second"], [2.0], "default")
    assert torch.equal(model(tokens).logits, expected)


@pytest.mark.parametrize("method", METHODS)
def test_a_module_to_save_that_both_have_trained_is_refused(
    method: str, bert: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor
) -> None:
    model = two_adapters(method, bert, wrap, make_config)
    head = model.get_submodule("base_model.model.classifier")
    with torch.no_grad():
        head.modules_to_save["second"].bias += 1
    with pytest.raises(ConfigError, match="'default' and 'second' have each their own classifier"):
        model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    assert list(model.peft_config) == ["default", "second"]
    model.add_weighted_adapter(["second"], [0.5], "less")
    assert torch.equal(head.modules_to_save["less"].bias, head.modules_to_save["second"].bias)
    model.set_adapter("less")
    assert torch.isfinite(model(tokens).logits).all()


def test_biases_that_were_trained_are_refused(llama: Architecture, wrap: Wrap) -> None:
    model: Any = wrap("sora", llama, bias="all")
    with pytest.raises(ConfigError, match=r"`bias` must be 'none' in every adapter .* is 'all' in 'default'"):
        model.add_weighted_adapter(["default"], [1.0], "sum")
