"""Entangling capability: known states, closed-form means, and the input's own entanglement."""

import math

import pytest
import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import entangling_capability
from amplitune.quantum.capacity.entanglement import meyer_wallach


def ghz(n: int) -> Tensor:
    state = torch.zeros(2**n, dtype=torch.float64)
    state[0] = state[-1] = math.sqrt(0.5)
    return state


def w_state(n: int) -> Tensor:
    state = torch.zeros(2**n, dtype=torch.float64)
    state[[1 << bit for bit in range(n)]] = n**-0.5
    return state


@pytest.mark.parametrize("n", [2, 3, 5])
def test_known_states(n: int) -> None:
    product = torch.ones(2**n, dtype=torch.float64) / 2 ** (n / 2)
    values = meyer_wallach(torch.stack([ghz(n), w_state(n), product]))
    # A wire of the W state holds diag((n - 1)/n, 1/n): Q = 4 (n - 1) / n^2.
    expected = torch.tensor([1.0, 4 * (n - 1) / n**2, 0.0], dtype=torch.float64)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_purities_come_from_reduced_density_matrices(dtype: torch.dtype) -> None:
    n = 4
    states = torch.randn(5, 2**n, generator=torch.Generator().manual_seed(1), dtype=dtype)
    states = states / torch.linalg.vector_norm(states, dim=1, keepdim=True)
    purities = []
    for wire in range(n):
        matrix = states.reshape(5, *[2] * n).movedim(1 + wire, 1).reshape(5, 2, -1)
        rho = matrix @ matrix.mH
        purities.append((rho @ rho).diagonal(dim1=1, dim2=2).sum(dim=1).real)
    expected = 2 * (1 - torch.stack(purities).mean(dim=0))
    torch.testing.assert_close(meyer_wallach(states), expected, rtol=0, atol=1e-14)


def test_two_wires_and_one_cnot_have_a_closed_form() -> None:
    # The concurrence is sin(theta_0) cos(theta_1), and Q its square: 1/4 on average.
    result = entangling_capability(Circuit(2, Ansatz("RY", "linear")), draws=4000)
    assert abs(result.output.value - 0.25) < 4 * result.output.standard_error
    assert result.output.samples == 4000
    assert result.ratio is None
    assert result.difference == result.output


@pytest.mark.parametrize(("rotation", "exact"), [("RY", 6 / 10), ("RYRZ", 6 / 9)])
def test_deep_circuits_reach_the_haar_mean_of_their_own_group(rotation: str, exact: float) -> None:
    result = entangling_capability(Circuit(3, Ansatz(rotation, "ring", depth=8)), draws=1500)
    assert result.haar == pytest.approx(exact)
    assert abs(result.output.value - exact) < 4 * result.output.standard_error


def test_rotations_alone_leave_the_inputs_entanglement() -> None:
    x = torch.randn(6, 13, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    result = entangling_capability(Circuit(4, Ansatz("Rot", "none", depth=2)), inputs=x, draws=20)
    assert result.input.value > 0.5
    assert abs(result.difference.value) < 1e-14
    assert result.difference.standard_error < 1e-14
    assert result.ratio is not None
    assert result.ratio.value == pytest.approx(1, abs=1e-13)
    assert result.output.samples == 6


def test_the_difference_and_ratio_are_of_the_same_means() -> None:
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(3)) + 1
    result = entangling_capability(Circuit(3), inputs=x, draws=100)
    assert result.difference.value == pytest.approx(result.output.value - result.input.value)
    assert result.ratio is not None
    assert result.ratio.value == pytest.approx(result.output.value / result.input.value)
    assert result.ratio.standard_error > 0
    # Paired, the difference is no noisier than the two apart.
    apart = math.hypot(result.output.standard_error, result.input.standard_error)
    assert result.difference.standard_error < 2 * apart


def test_one_input_row_is_exact_and_the_draws_are_the_samples() -> None:
    result = entangling_capability(Circuit(2), inputs=torch.tensor([1.0, 0.0, 0.0, 1.0]), draws=50)
    assert result.input.value == pytest.approx(1)
    assert result.input.standard_error == 0
    assert result.output.samples == 50
    assert result.ratio is not None
    assert result.ratio.value == pytest.approx(result.output.value)
    assert result.ratio.standard_error == pytest.approx(result.output.standard_error)


def test_one_wire_has_nothing_to_be_entangled_with() -> None:
    result = entangling_capability(Circuit(1, Ansatz("RY", "none")), draws=5)
    assert abs(result.output.value) < 1e-15
    assert result.haar == 0
    assert result.reference == "real"


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ConfigError, match="`draws` must be an integer of at least 2"):
        entangling_capability(Circuit(2), draws=1)
