"""Circuit measures of a QAA layer against identities that hold for any angles."""

from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from amplitune import QAAConfig
from amplitune.adapters.qaa.layer import QAALayer
from amplitune.quantum import expectation
from amplitune.study.measures.trained_circuit import ROWS, circuit_measures


def layer(**settings: Any) -> QAALayer:
    torch.manual_seed(0)
    model = peft.get_peft_model(nn.Sequential(nn.Linear(6, 5)), QAAConfig(target_modules=["0"], **settings))
    found = model.get_submodule("base_model.model.0")
    assert isinstance(found, QAALayer)
    return found


def rows(count: int = 40) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(1))


def test_rotations_alone_entangle_nothing() -> None:
    measured = circuit_measures(layer(entangler="none"), rows())
    assert measured["circuit_entanglement"] == pytest.approx(measured["input_entanglement"])
    assert 0.1 < measured["input_entanglement"] < 0.9


def test_a_ring_of_cnots_entangles_products() -> None:
    # |+> on each wire but the first: a product, whatever the angles make of it one by one.
    product = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0, 0.0, 0.0]])
    measured = circuit_measures(layer(), product)
    assert measured["input_entanglement"] == pytest.approx(0, abs=1e-12)
    assert measured["circuit_entanglement"] > 0.05
    # The same state twice.
    assert measured["input_fidelity"] == pytest.approx(1)
    assert measured["readout_variance"] == pytest.approx(0, abs=1e-20)


def test_scale_and_sign_of_a_token_do_not_matter() -> None:
    inputs = rows()
    factors = torch.linspace(-3, 2, len(inputs))[:, None]
    assert circuit_measures(layer(), factors * inputs) == pytest.approx(circuit_measures(layer(), inputs))


@pytest.mark.parametrize(
    "settings", [{}, {"circuits": 2, "depth": 2}, {"rotation": "Rot"}, {"norm": "restore"}]
)
def test_values_against_their_definition(settings: dict[str, Any]) -> None:
    found, inputs = layer(**settings), rows()
    unit = nn.functional.normalize(inputs.double(), dim=1)
    z = expectation(unit, found.qaa_angles["default"].detach().double(), found.qaa_circuit["default"])
    pairs = [float(unit[i] @ unit[j]) ** 2 for i in range(40) for j in range(i)]
    measured = circuit_measures(found, inputs)
    assert len(measured) == 4
    assert measured["input_fidelity"] == pytest.approx(sum(pairs) / len(pairs))
    assert measured["readout_variance"] == pytest.approx(float(z.var(dim=0).mean()))


def test_tokens_without_a_state_and_too_many_are_left_out() -> None:
    inputs = rows()
    with_others = torch.cat([torch.zeros(2, 6), inputs, torch.full((1, 6), torch.nan)])
    assert circuit_measures(layer(), with_others) == pytest.approx(circuit_measures(layer(), inputs))
    assert circuit_measures(layer(), torch.zeros(9, 6)) == {}
    many = rows(3 * ROWS)
    assert circuit_measures(layer(), many) == pytest.approx(circuit_measures(layer(), many[::3]))
