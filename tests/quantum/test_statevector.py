"""Statevectors: norm, order of wires, identity circuits and reversibility of the evolution."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amplitune.quantum import Ansatz, Circuit, statevector
from amplitune.quantum.ansatz import ENTANGLERS, ROTATIONS
from amplitune.quantum.layers import rotation_factors
from amplitune.quantum.program import block_parameters, program_of


@settings(max_examples=60, deadline=None)
@given(
    row=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
    rotation=st.sampled_from(sorted(ROTATIONS)),
    entangler=st.sampled_from(sorted(ENTANGLERS)),
    depth=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_every_row_but_zero_becomes_a_state_of_norm_one(
    row: list[float], rotation: str, entangler: str, depth: int, seed: int
) -> None:
    circuit = Circuit(3, Ansatz(rotation, entangler, depth))
    generator = torch.Generator().manual_seed(seed)
    angles = 10 * torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    states = statevector(torch.tensor(row, dtype=torch.float64), angles, circuit)
    norms = torch.linalg.vector_norm(states, dim=-1)
    expected = torch.full_like(norms, 1.0 if any(row) else 0.0)
    torch.testing.assert_close(norms, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("wire", [0, 1, 2])
def test_wire_zero_is_the_most_significant_bit(wire: int) -> None:
    circuit = Circuit(3, Ansatz("RY", "none", depth=1))
    angles = torch.zeros(circuit.angle_shape())
    angles[0, 0, 0, wire] = math.pi
    state = statevector(torch.tensor([1.0]), angles, circuit)
    expected = torch.zeros(1, 8)
    expected[0, 4 >> wire] = 1
    torch.testing.assert_close(state, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_angles_of_zero_leave_the_encoded_row(rotation: str) -> None:
    circuit = Circuit(4, Ansatz(rotation, "none", depth=2))
    x = torch.arange(1.0, 12.0)
    state = statevector(x, torch.zeros(circuit.angle_shape()), circuit)
    expected = torch.nn.functional.pad(x / x.norm(), (0, 5))[None].to(state.dtype)
    torch.testing.assert_close(state, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_the_two_factors_of_a_layer_are_unitary_and_split_the_wires(rotation: str, n: int) -> None:
    circuit = Circuit(n, Ansatz(rotation, "ring", depth=2))
    angles = torch.randn(
        circuit.angle_shape(3), generator=torch.Generator().manual_seed(n), dtype=torch.float64
    )
    major, minor = rotation_factors(block_parameters(angles, circuit), program_of(circuit))
    assert major.shape[:2] == minor.shape[:2] == (3, 2)
    assert major.shape[-1] * minor.shape[-1] == 2**n
    for factor in (major, minor):
        identity = torch.eye(factor.shape[-1], dtype=factor.dtype).expand_as(factor)
        torch.testing.assert_close(factor @ factor.mH, identity, rtol=0, atol=1e-14)


def test_real_circuits_undo_themselves_with_opposite_angles() -> None:
    circuit = Circuit(5, Ansatz("RY", "none", depth=1))
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(3, 20, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=torch.float64)
    back = statevector(statevector(x, angles, circuit)[:, 0], -angles, circuit)[:, 0]
    expected = torch.nn.functional.pad(x / x.norm(dim=-1, keepdim=True), (0, 12))
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-14)
