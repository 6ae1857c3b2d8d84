"""The preparation of real states: the state it makes, signs included, and the gates it takes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.gate_list import PlacedGate, depth_of
from amplitune.quantum.gates import cnot, ry
from amplitune.quantum.preparation_gates import (
    PreparationCost,
    device_amplitudes,
    preparation_cost,
    preparation_gates,
    uniformly_controlled_ry,
)


def run(gates: list[PlacedGate], wires: int) -> Tensor:
    """The state that gates make of |0...0>, wire 0 the most significant bit."""
    state = torch.zeros(2**wires, dtype=torch.float64)
    state[0] = 1
    for gate in gates:
        if gate.name == "CNOT":
            control, target = gate.wires
            state = state[cnot(torch.arange(2**wires), control, target, wires)]
        else:
            assert gate.name == "RY"
            matrix = ry(torch.tensor(gate.angle, dtype=torch.float64))
            state = torch.einsum("ij,ajb->aib", matrix, state.reshape(2 ** gate.wires[0], 2, -1)).flatten()
    return state


@pytest.mark.parametrize("features", [2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 256])
def test_the_state_is_the_row_with_its_signs(features: int) -> None:
    x = torch.randn(features, generator=torch.Generator().manual_seed(features), dtype=torch.float64)
    expected = torch.nn.functional.pad(x / x.norm(), (0, 2**9 - features))
    state = run(preparation_gates(x, tuple(range(9))), 9)
    assert (state - expected).abs().max() < 1e-14


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 1e-200, -1e200]), min_size=2, max_size=16))
def test_zeros_and_extreme_magnitudes_have_their_state(row: list[float]) -> None:
    x = torch.tensor(row, dtype=torch.float64)
    if not x.any():
        return
    circuit = Circuit(4)
    amplitudes = device_amplitudes(x, circuit)
    assert abs(float(amplitudes.norm()) - 1) < 1e-15
    state = run(preparation_gates(amplitudes, (0, 1, 2, 3)), 4)
    assert (state[: len(x)] - amplitudes).abs().max() < 1e-14
    assert state[len(x) :].abs().max() < 1e-14 if len(x) < 16 else True


@pytest.mark.parametrize(("x", "sign"), [(2.0, 1), (-2.0, -1)])
def test_a_single_feature_needs_no_gate_and_loses_its_sign(x: float, sign: int) -> None:
    assert preparation_gates(torch.tensor([x]), (0, 1)) == []
    assert device_amplitudes(torch.tensor([x]), Circuit(2)).tolist() == [sign]


def test_wires_may_be_named_in_any_order() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    state = run(preparation_gates(x, (2, 0)), 3).reshape(2, 2, 2)
    assert (state[:, 0, :].T.flatten() - x / x.norm()).abs().max() < 1e-15


@pytest.mark.parametrize("controls", [(), (0,), (1, 0), (0, 2, 3)])
def test_a_rotation_controlled_by_each_basis_state(controls: tuple[int, ...]) -> None:
    wires, target = 5, 4
    angles = torch.randn(2 ** len(controls), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gates = uniformly_controlled_ry(angles, controls, target)
    for pattern, angle in enumerate(angles):
        ones = [wire for place, wire in enumerate(reversed(controls)) if pattern >> place & 1]
        flips = [PlacedGate("RY", (wire,), math.pi) for wire in ones]
        state = run([*flips, *gates], wires)
        index = sum(1 << (wires - 1 - wire) for wire in ones)
        assert torch.allclose(state[index : index + 2], ry(angle)[:, 0], atol=1e-14)


def test_the_cost_is_that_of_the_list() -> None:
    visited = 0
    for features in (1, 2, 3, 4, 5, 8, 17, 300, 512):
        for readout in ("Z", "interferometric"):
            circuit = Circuit(9, readout=readout)
            x = torch.randn(features, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
            wires = tuple(range(10 if readout == "interferometric" else 9))
            gates = preparation_gates(device_amplitudes(x, circuit), wires)
            names = [gate.name for gate in gates]
            found = PreparationCost(names.count("RY"), names.count("CNOT"), depth_of(gates))
            assert preparation_cost(features, circuit) == found, (features, readout)
            visited += 1
    assert visited == 18


def test_the_interferometric_state_has_the_reference_beside_the_input() -> None:
    x = torch.tensor([3.0, 0.0, -4.0])
    state = device_amplitudes(x, Circuit(2, readout="interferometric"))
    expected = torch.tensor([0.6, 0.0, -0.8, 0.0, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64) / 2**0.5
    assert torch.allclose(state, expected, atol=1e-15)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3), "is all zeros"),
        (torch.tensor([1.0, math.nan]), "holds a NaN or an infinity"),
        (torch.tensor([1.0, math.inf]), "holds a NaN or an infinity"),
        (torch.ones(2, 3), "must be one row of shape"),
        (torch.ones(5), "`n_qubits` must be at least"),
        (torch.ones(3, dtype=torch.int64), "`x` must be a real floating-point tensor"),
    ],
)
def test_what_is_no_state(x: Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        device_amplitudes(x, Circuit(2, Ansatz()))


def test_a_preparation_is_as_large_as_the_register_is() -> None:
    with pytest.raises(ConfigError, match="`features` must be from 1 to 8"):
        preparation_cost(9, Circuit(3))
