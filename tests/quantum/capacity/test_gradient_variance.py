"""Gradient variance against closed forms."""

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import gradient_variance

APART = Ansatz("RY", "none")


def word(n: int) -> tuple[str]:
    return (" ".join(f"Z{wire}" for wire in range(n)),)


#: The circuit, the observable, the angle, and the variance: of sin, and of products of sines and cosines.
CLOSED = {
    "one wire": (Circuit(1, APART), None, None, 1 / 2),
    "own angle": (Circuit(4, APART), 2, 2, 1 / 2),
    "other angle": (Circuit(4, APART), 2, 1, 0.0),
    "mean over both": (Circuit(4, APART), None, None, 1 / 8),
    "probability of one wire": (Circuit(1, APART, readout="probabilities"), 0, 0, 1 / 8),
    "global word": (Circuit(4, APART, readout=word(4)), 0, 1, 2**-4),
    # Two RY on a wire are one of their sum, and Z conjugated by RZ is Z.
    "two layers": (Circuit(2, Ansatz("RY", "none", depth=2)), 0, 2, 1 / 2),
    "phases are not read": (Circuit(1, Ansatz("RYRZ", "none")), 0, 1, 0.0),
}


@pytest.mark.parametrize("name", CLOSED)
def test_variances_have_their_closed_form(name: str) -> None:
    circuit, observable, angle, exact = CLOSED[name]
    found = gradient_variance(circuit, draws=3000, observable=observable, angle=angle)
    assert found.samples == 3000
    assert abs(found.value - exact) <= 4 * found.standard_error + 1e-25


@pytest.mark.parametrize("n", [1, 2, 4])
def test_random_inputs_give_the_variance_of_a_pauli_word_over_real_states(n: int) -> None:
    # d Z_w / d theta_w reads -X_w: over Haar's measure on real states its square has the mean 2 / (N + 2).
    x = torch.randn(1500, 2**n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    found = gradient_variance(Circuit(n, APART), draws=1500, observable=n - 1, angle=n - 1, inputs=x)
    assert found.samples == 1500
    assert abs(found.value - 2 / (2**n + 2)) < 4 * found.standard_error


def test_the_stated_error_holds_over_repetitions() -> None:
    circuit = Circuit(2, Ansatz("RY", "ring", depth=2))
    estimates = [gradient_variance(circuit, draws=50, seed=seed) for seed in range(100)]
    spread = torch.tensor([estimate.value for estimate in estimates]).std().item()
    stated = torch.tensor([estimate.standard_error for estimate in estimates]).mean().item()
    assert 0.75 < stated / spread < 1.3


def test_indices_and_counts_are_checked() -> None:
    with pytest.raises(ConfigError, match="`observable` must be an index from 0 to 1, but is 2"):
        gradient_variance(Circuit(2), observable=2)
    with pytest.raises(ConfigError, match="`angle` must be an index from 0 to 3, but is -1"):
        gradient_variance(Circuit(2, Ansatz("RYRZ")), angle=-1)
    with pytest.raises(ConfigError, match="`draws` must be"):
        gradient_variance(Circuit(2), draws=1)
