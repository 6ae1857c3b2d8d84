"""The effective dimension against closed forms."""

import math

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import effective_dimension
from amplitune.quantum.capacity.effective_dimension import dimension_of


def kappa(data: int, gamma: float = 1.0) -> float:
    return gamma * data / (2 * math.pi * math.log(data))


@pytest.mark.parametrize(("data", "gamma"), [(100, 1.0), (10_000, 1.0), (10_000, 0.1)])
@pytest.mark.parametrize("n", [1, 3])
def test_rotations_apart_have_their_closed_form(n: int, data: int, gamma: float) -> None:
    # F = 1 on each of n angles: d = n log(1 + kappa) / log(kappa).
    found = effective_dimension(Circuit(n, Ansatz("RY", "none")), data=data, gamma=gamma, draws=3)
    factor = kappa(data, gamma)
    assert found.value == pytest.approx(n * math.log1p(factor) / math.log(factor), rel=1e-12)
    assert found.standard_error < 1e-12


def test_redundant_angles_do_not_count() -> None:
    # Three RY in a row are one: F has the one eigenvalue 3, and G = A F / tr F the same.
    found = effective_dimension(Circuit(1, Ansatz("RY", "none", depth=3)), data=1000, draws=3)
    factor = kappa(1000)
    assert found.value == pytest.approx(math.log1p(3 * factor) / math.log(factor), rel=1e-12)


def test_the_mean_over_angles_is_of_the_volume() -> None:
    matrices = torch.tensor([0.5, 1.5], dtype=torch.float64).reshape(2, 1, 1, 1)
    factor = kappa(500)
    volume = (math.sqrt(1 + 0.5 * factor) + math.sqrt(1 + 1.5 * factor)) / 2
    found = dimension_of(matrices, data=500)
    assert found.value == pytest.approx(2 * math.log(volume) / math.log(factor), rel=1e-12)
    assert found.standard_error > 0


def test_it_comes_near_the_rank_with_much_data() -> None:
    # Eight angles, but four outcomes from one input have three free probabilities.
    circuit = Circuit(2, Ansatz("RYRZ", "ring", depth=2))
    found = [effective_dimension(circuit, data=data, draws=20).value for data in (10**3, 10**6, 10**12)]
    assert found == sorted(found, reverse=True)
    assert found[2] == pytest.approx(3, abs=0.3)


def test_the_stated_error_holds_over_new_inputs_and_angles() -> None:
    circuit = Circuit(2, Ansatz("RYRZ", "ring", depth=2))
    values, stated = [], []
    for seed in range(40):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found = effective_dimension(circuit, data=1000, draws=16, inputs=x, seed=1000 + seed)
        values.append(found.value)
        stated.append(found.standard_error)
    assert 0.7 < torch.tensor(stated).mean() / torch.tensor(values).std() < 2


@pytest.mark.parametrize(
    ("data", "gamma", "message"),
    [
        (15, 1.0, "`data` must be so large"),
        (1, 1.0, "`data` must be an integer of at least 2"),
        (1000, 0.0, r"`gamma` must be in \(0, 1\]"),
        (1000, 1.5, r"`gamma` must be in \(0, 1\]"),
    ],
)
def test_data_and_gamma_are_checked(data: int, gamma: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        effective_dimension(Circuit(1), data=data, gamma=gamma)


def test_angles_that_change_nothing_have_no_dimension() -> None:
    with pytest.raises(ConfigError, match="must hold information"):
        dimension_of(torch.zeros(2, 1, 3, 3, dtype=torch.float64), data=1000)
