"""Haar's measure: closed forms against scipy's beta distribution and against sampled states."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from amplitune.quantum.capacity.entanglement import meyer_wallach
from amplitune.quantum.capacity.estimate import mean
from amplitune.quantum.capacity.haar import fidelity_cdf, log_bin_masses, meyer_wallach_mean

# scipy has no type stubs.
stats = importlib.import_module("scipy.stats")

REFERENCES = ("complex", "real")


def random_states(count: int, size: int, reference: str, seed: int) -> Tensor:
    dtype = torch.complex128 if reference == "complex" else torch.float64
    states = torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return states / torch.linalg.vector_norm(states, dim=1, keepdim=True)


def beta(n: int, reference: str) -> Any:
    """F ~ Beta(1, N - 1) for complex states, Beta(1/2, (N - 1)/2) for real ones."""
    size = 2**n
    return stats.beta(1, size - 1) if reference == "complex" else stats.beta(0.5, (size - 1) / 2)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11])
def test_bins_have_the_beta_distributions_masses(n: int, reference: str) -> None:
    logs = log_bin_masses(n, 75, reference)
    expected = -np.diff(beta(n, reference).sf(np.linspace(0, 1, 76)))
    # Where scipy's own difference has lost its digits there is nothing to compare.
    good = expected > 1e-290
    assert good.sum() >= (75 if n < 8 else 10)
    np.testing.assert_allclose(logs.numpy()[good], np.log(expected[good]), rtol=0, atol=2e-11)
    assert logs.isfinite().all()
    assert abs(logs.exp().sum().item() - 1) < 1e-14


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_the_distribution_function_is_the_betas(n: int, reference: str) -> None:
    fidelities = torch.cat([torch.tensor([0.0, 1e-12, 1.0]), torch.linspace(0, 1, 50)]).double()
    expected = beta(n, reference).cdf(fidelities.numpy())
    np.testing.assert_allclose(
        fidelity_cdf(fidelities, n, reference).numpy(), expected, rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("reference", REFERENCES)
def test_fidelities_of_sampled_states_follow_it(reference: str) -> None:
    states = random_states(8000, 8, reference, seed=3)
    fidelities = torch.linalg.vecdot(states[::2], states[1::2]).abs().square()
    assert stats.kstest(fidelity_cdf(fidelities, 3, reference).numpy(), "uniform").pvalue > 1e-3
    other = "real" if reference == "complex" else "complex"
    assert stats.kstest(fidelity_cdf(fidelities, 3, other).numpy(), "uniform").pvalue < 1e-9


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_sampled_states_have_the_mean_entanglement(n: int, reference: str) -> None:
    sampled = mean(meyer_wallach(random_states(4000, 2**n, reference, seed=n)))
    exact = meyer_wallach_mean(n, reference)
    assert abs(sampled.value - exact) <= 4 * sampled.standard_error + 1e-15


def test_published_values() -> None:
    # Meyer and Wallach: (N - 2) / (N + 1). Real states of two qubits: E[C^2] = 1/3 for the concurrence C.
    assert meyer_wallach_mean(4, "complex") == 14 / 17
    assert meyer_wallach_mean(2, "real") == 1 / 3
    assert meyer_wallach_mean(1, "real") == meyer_wallach_mean(1, "complex") == 0
