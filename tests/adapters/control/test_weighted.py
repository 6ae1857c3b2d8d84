"""Weighted sums of CONTROL adapters: exact where the features are the same, refused where they are not."""

from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.test_weighted import assert_sum
from torch import nn

from amplitune import ControlConfig
from amplitune.errors import ConfigError

KINDS: list[dict[str, Any]] = [
    {"features": "bias"},
    {"width": "Z+ZZ", "projection_seed": 3},
    {"features": "squares", "width": 4, "circuits": 2, "norm": "restore"},
    {"features": "givens", "depth": 2, "rotations": 3},
]


def adapters(first: dict[str, Any], second: dict[str, Any], widths: tuple[int, int] = (6, 6)) -> Any:
    """Two linear layers with an adapter in each, or in those that the fields name."""
    net = nn.Sequential(nn.Linear(widths[0], 4), nn.Linear(widths[1], 3))
    common: dict[str, Any] = {"target_modules": ["0", "1"], "init_weights": False}
    model: Any = get_peft_model(net, ControlConfig(**common | first))
    model.add_adapter("second", ControlConfig(**common | second))
    return model


@pytest.mark.parametrize("fields", KINDS, ids=lambda fields: fields.get("features", "projection"))
def test_a_sum_is_as_large_as_its_parts_and_is_saved_and_loaded(
    fields: dict[str, Any], tmp_path: Any
) -> None:
    model = adapters(fields, fields | {"scaling": -0.3})
    for layer in (model.base_model.model[0], model.base_model.model[1]):
        if "default" in layer.control_angles:
            layer.control_angles["second"].data.copy_(layer.control_angles["default"])
    model.add_weighted_adapter(["default", "second", "default"], [0.5, 3, 1.0], "sum")
    assert model.active_adapter == "default"
    shapes = {
        name: [
            value.shape
            for key, value in model.named_parameters()
            if key.endswith(f".{name}") and "control" in key
        ]
        for name in ("default", "sum")
    }
    assert shapes["sum"] == shapes["default"] != []
    model.save_pretrained(str(tmp_path), selected_adapters=["sum"])
    fresh = nn.Sequential(nn.Linear(6, 4), nn.Linear(6, 3))
    loaded: Any = PeftModel.from_pretrained(fresh, str(tmp_path / "sum"))
    layer, again = model.base_model.model[0], loaded.base_model.model[0]
    x = torch.randn(5, 6)
    torch.testing.assert_close(again.branch(x, "default"), layer.branch(x, "sum"), rtol=0, atol=0)
    assert_sum(model.double(), {"default": 1.5, "second": 3.0})


def test_a_width_written_in_two_ways_is_the_same() -> None:
    """Six inputs make three qubits, and so three features as well."""
    squares = {"features": "squares"}
    model = adapters(squares | {"n_qubits": 3, "width": 3}, squares)
    model.add_weighted_adapter(["default", "second"], [1.0, -2.0], "sum")
    assert_sum(model.double(), {"default": 1.0, "second": -2.0})
    model = adapters({"circuits": 2}, {"width": 6, "n_qubits": 5})
    model.add_weighted_adapter(["default", "second"], [1.0, -2.0], "sum")
    assert_sum(model.double(), {"default": 1.0, "second": -2.0})


def test_the_config_is_the_one_that_fits_all_modules() -> None:
    """Three features are those of the narrower module alone, which only the first adapter has."""
    model = adapters({"width": 3, "target_modules": ["0"]}, {"target_modules": ["1"]}, widths=(6, 9))
    model.add_weighted_adapter(["default", "second"], [1.0, 0.5], "sum")
    assert model.peft_config["sum"].width == "Z"
    assert_sum(model.double(), {"default": 1.0, "second": 0.5})
    model = adapters({"width": 2, "target_modules": ["0"]}, {"target_modules": ["1"]})
    with pytest.raises(ConfigError, match="`width` must be the same"):
        model.add_weighted_adapter(["default", "second"], [1.0, 0.5], "sum")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"features": "squares"}, r"`features` .* in 0 is 'projection' in 'default' and 'squares'"),
        (
            {},
            {"projection_seed": 1},
            r"`projection_seed` must be the same .* is 0 in 'default' and 1 in 'sec",
        ),
        ({"width": 4}, {"width": 5}, r"`width` must be the same .* is 4 in 'default' and 5 in 'second'"),
        (
            {"features": "squares", "norm": "restore"},
            {"features": "squares"},
            r"`norm` must be the same .* keep these active together",
        ),
        (
            {"features": "squares", "width": 4, "n_qubits": 4},
            {"features": "squares", "width": 4},
            r"`n_qubits` must be the same .* is 4 in 'default' and 3 in 'second'",
        ),
        (
            {"features": "givens", "circuits": 2, "width": 2},
            {"features": "givens", "width": 4},
            r"`circuits` must be the same .* is 2 in 'default' and 1 in 'second'",
        ),
        (
            {"features": "givens"},
            {"features": "givens"},
            r"must have the same angles, but those of 'default' and 'second' differ in 0\..* Keep them",
        ),
    ],
)
def test_other_features_are_refused_and_nothing_is_added(
    first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    model = adapters(first, second)
    before = list(model.state_dict())
    with pytest.raises(ConfigError, match=message):
        model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    assert list(model.peft_config) == ["default", "second"]
    assert list(model.state_dict()) == before
    # The advice of the message.
    model.base_model.set_adapter(["default", "second"])
    layer, x = model.base_model.model[0], torch.randn(2, 6)
    both = layer.branch(x, "default") + layer.branch(x, "second")
    torch.testing.assert_close(layer(x) - layer.get_base_layer()(x), both)
