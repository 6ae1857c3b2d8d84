"""Weighted sums of QAA adapters: one circuit after the other, with one set of fields."""

from typing import Any

import pytest
import torch
from peft import get_peft_model
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.test_weighted import assert_sum
from torch import Tensor, nn

from amplitune import QAAConfig
from amplitune.errors import ConfigError

CIRCUITS: list[dict[str, Any]] = [
    {},
    {"rotation": "Rot", "entangler": [[0, 1], [2, 1]], "depth": 2, "rotation_after": "RY"},
    {"readout": "probabilities", "norm": "restore"},
    {"readout": ["X0", "Z0 Z2"], "reuploading": True, "depth": 2},
    {"readout": "interferometric", "norm": "restore"},
]


@pytest.mark.parametrize("fields", CIRCUITS)
def test_every_circuit_can_be_concatenated(fields: dict[str, Any]) -> None:
    model: Any = get_peft_model(
        nn.Sequential(nn.Linear(6, 5)),
        QAAConfig(target_modules=["0"], init_weights=False, circuits=2, up_proj_bias=False, **fields),
    )
    model.add_adapter("second", QAAConfig(target_modules=["0"], init_weights=False, scaling=-0.3, **fields))
    model.add_weighted_adapter(["default", "second"], [0.5, 3], "sum")
    layer: Any = model.base_model.model[0]
    assert layer.qaa_angles["sum"].shape[0] == 3
    assert model.peft_config["sum"].circuits == 3
    assert layer.qaa_circuit["sum"] == layer.qaa_circuit["default"]
    assert_sum(model.double(), {"default": 0.5, "second": 3.0})


def test_a_convolution_adds_the_weighted_sum() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1))
    model: Any = get_peft_model(net, QAAConfig(target_modules=["0"], init_weights=False))
    model.add_adapter("second", QAAConfig(target_modules=["0"], init_weights=False, circuits=2))
    model.add_weighted_adapter(["default", "second"], [2.0, -0.5], "sum")
    x = torch.randn(2, 2, 5, 4)
    added = {}
    with torch.no_grad():
        for name in ("default", "second", "sum"):
            model.set_adapter(name)
            with model.disable_adapter():
                base = model(x)
            added[name] = model(x) - base
    assert added["sum"].abs().max() > 0.1
    torch.testing.assert_close(added["sum"], 2 * added["default"] - added["second"] / 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"readout": "XYZ"}, "`readout` must be the same .* in 0 is 'Z' in 'default' and 'XYZ' in 'second'"),
        ({"norm": "restore"}, "`norm` must be the same in every adapter"),
        ({"n_qubits": 4}, "`n_qubits` must be the same .* is 3 in 'default' and 4 in 'second'"),
        ({"entangling_gate": "CZ"}, "`entangling_gate` must be the same"),
        ({"depth": 2}, "`depth` must be the same"),
        (
            {"rotation": "Rot", "target_modules": ["1"]},
            "`rotation` must be the same in all modules .*'Rot' in 1",
        ),
    ],
)
def test_other_circuits_are_refused_by_the_field_that_differs(fields: dict[str, Any], message: str) -> None:
    model: Any = get_peft_model(
        nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 5)), QAAConfig(target_modules=["0"])
    )
    model.add_adapter("second", QAAConfig(**{"target_modules": ["0"]} | fields))
    state = list(model.state_dict())
    with pytest.raises(ConfigError, match=message):
        model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum")
    assert list(model.peft_config) == ["default", "second"]
    assert list(model.state_dict()) == state


@pytest.mark.parametrize("shared", [True, False])
def test_modules_that_share_a_circuit_go_on_to_share_it_if_all_do(
    llama: Architecture, wrap: Wrap, tokens: Tensor, shared: bool
) -> None:
    model: Any = wrap("qaa", llama, share_circuit=True)
    second = QAAConfig(
        target_modules=["q_proj", "v_proj"] if shared else ["v_proj"], share_circuit=True, init_weights=False
    )
    model.add_adapter("second", second)
    model.add_weighted_adapter(["default", "second"], [0.5, -1.0], "sum")
    angles = [name for name, _ in model.named_parameters() if name.endswith("qaa_angles.sum")]
    assert len(angles) == (2 if shared else 4)
    assert model.peft_config["sum"].share_circuit is shared
    assert_sum(model.double(), {"default": 0.5, "second": -1.0})
