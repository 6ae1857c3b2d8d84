"""Readout spread: closed form for normal rows, and rows that are all one state."""

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.capacity import readout_spread as module
from amplitune.quantum.capacity.draws import random_angles, seeded
from amplitune.quantum.capacity.readout_spread import readout_spread


def normal(rows: int, features: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, features, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 3])
def test_normal_rows_have_the_spread_of_real_random_states(n: int) -> None:
    spread = readout_spread(normal(400, 2**n), Circuit(n, Ansatz("RY", "ring", depth=2)), draws=10)
    for estimate in (spread.rows, spread.gaussian):
        assert abs(estimate.value - 2 / (2**n + 2)) < 4 * estimate.standard_error
    assert abs(spread.ratio.value - 1) < 4 * spread.ratio.standard_error < 0.8
    assert spread.ratio.value == pytest.approx(spread.rows.value / spread.gaussian.value)


def test_one_state_has_no_spread() -> None:
    x = normal(1, 8) * torch.arange(1.0, 6.0)[:, None]
    spread = readout_spread(x, Circuit(3, norm="restore"), draws=5)
    assert spread.rows.value < 1e-28
    assert spread.ratio.value < 1e-26
    assert spread.gaussian.value > 0.01


def test_the_spread_is_the_variance_over_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASS", 64)
    x, circuit = normal(6, 4) + 1, Circuit(2, Ansatz("RYRZ", "ring"), readout="XYZ")
    angles = random_angles(circuit, 3, seeded(9))
    z = expectation(x, angles, circuit).reshape(6, 3, 6)
    found = readout_spread(x, circuit, draws=3, seed=9)
    assert found.rows.value == pytest.approx(z.var(dim=0).mean().item())
    assert found.rows.samples == 6


def test_the_stated_error_holds_over_new_rows_and_angles() -> None:
    circuit = Circuit(2, Ansatz("RY", "ring"))
    ratios = [
        readout_spread(normal(40, 4, seed) + 0.5, circuit, draws=10, seed=500 + seed).ratio
        for seed in range(60)
    ]
    spread = torch.tensor([ratio.value for ratio in ratios]).std().item()
    stated = torch.tensor([ratio.standard_error for ratio in ratios]).mean().item()
    assert 0.75 < stated / spread < 1.6


def test_rows_must_fit_the_circuit() -> None:
    with pytest.raises(ConfigError, match="`n_qubits` must be at least"):
        readout_spread(normal(5, 9), Circuit(3))
    with pytest.raises(ConfigError, match="`draws` must be"):
        readout_spread(normal(5, 8), Circuit(3), draws=1)
