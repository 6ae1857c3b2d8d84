"""Expressibility: published and closed-form values, its bias, and the error that it states."""

import importlib
import math

import pytest
import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import expressibility
from amplitune.quantum.capacity.expressibility import divergence_of
from amplitune.quantum.capacity.haar import log_bin_masses

# scipy has no type stubs.
stats = importlib.import_module("scipy.stats")

ONE_RY = Circuit(1, Ansatz("RY", "none"))


def arcsine(pairs: int, seed: int) -> Tensor:
    """Fidelities of one RY on |0>: cos^2 of half a uniform angle."""
    angle = torch.rand(pairs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cos(math.pi * angle).square()


def arcsine_divergence(bins: int) -> float:
    """The exact divergence of the arcsine law's bins from the uniform law's, which is one complex qubit's."""
    p = log_bin_masses(1, bins, "real").exp()
    return (p * (p * bins).log()).sum().item()


def test_an_idle_circuit_has_the_published_value() -> None:
    # Sim et al., figure 1, give about 4.30 for an idle qubit and 75 bins; all pairs are in the last bin.
    idle = divergence_of(torch.ones(5000, dtype=torch.float64), 1, "complex")
    assert idle.plug_in == pytest.approx(math.log(75), abs=1e-12)
    assert abs(idle.plug_in - 4.30) < 0.03
    assert idle.divergence.value == pytest.approx(math.log(75), abs=1e-8)
    assert idle.divergence.standard_error == 0


def test_an_idle_circuit_of_eleven_qubits_is_far_off_but_finite() -> None:
    idle = divergence_of(torch.ones(100, dtype=torch.float64), 11, "complex")
    assert idle.plug_in == pytest.approx(2047 * math.log(75), rel=1e-12)


def test_one_rotation_has_its_closed_form_against_complex_states() -> None:
    result = expressibility(ONE_RY, reference="complex", pairs=3000)
    assert abs(result.divergence.value - arcsine_divergence(75)) < 4 * result.divergence.standard_error
    # Without bins: minus the entropy of the arcsine law.
    assert arcsine_divergence(20_000) == pytest.approx(-math.log(math.pi / 4), abs=5e-3)


def test_one_rotation_is_fully_expressive_among_real_states() -> None:
    result = expressibility(ONE_RY, pairs=3000)
    assert result.reference == "real"
    assert abs(result.divergence.value) < 4 * result.divergence.standard_error
    assert abs(result.plug_in - result.haar.value) < 4 * result.haar.standard_error


def test_the_value_for_perfect_states_is_the_stated_bias() -> None:
    # (bins - 1) / (2 pairs) = 0.0074: what Sim et al.'s convention gives for random unitaries on one qubit.
    result = divergence_of(arcsine(5000, 0), 1, "real")
    assert result.haar.value == pytest.approx(74 / 10_000, rel=0.05)
    assert abs(result.plug_in - result.haar.value) < 4 * result.haar.standard_error


@pytest.mark.parametrize(("reference", "calibrated"), [("real", (1.0, 2.0)), ("complex", (0.75, 1.35))])
def test_the_stated_error_and_bias_hold_over_repetitions(
    reference: str, calibrated: tuple[float, float]
) -> None:
    exact = 0.0 if reference == "real" else arcsine_divergence(30)
    results = [divergence_of(arcsine(400, seed), 1, reference, bins=30) for seed in range(120)]
    values = torch.tensor([result.divergence.value for result in results])
    plug_in = torch.tensor([result.plug_in for result in results])
    spread = values.std().item()
    stated = torch.tensor([result.divergence.standard_error for result in results]).mean().item()
    # At 0 the divergence is quadratic in the errors, and the jackknife then overstates by sqrt(2).
    assert calibrated[0] < stated / spread < calibrated[1]
    assert abs(values.mean().item() - exact) < 4 * spread / math.sqrt(120)
    assert plug_in.mean().item() - exact > 10 * spread / math.sqrt(120)


def test_a_real_circuit_reaches_real_states_and_never_complex_ones() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring", depth=6))
    real, complex_ = (expressibility(circuit, reference=name, pairs=2000) for name in ("real", "complex"))
    assert abs(real.divergence.value) < 4 * real.divergence.standard_error
    assert complex_.divergence.value > 10 * complex_.divergence.standard_error


def test_a_complex_circuit_approaches_complex_states_with_depth() -> None:
    shallow, deep = (
        expressibility(Circuit(3, Ansatz("RYRZ", "ring", depth)), pairs=1500) for depth in (1, 5)
    )
    assert shallow.reference == deep.reference == "complex"
    assert shallow.divergence.value > 6 * shallow.divergence.standard_error
    assert abs(deep.divergence.value) < 4 * deep.divergence.standard_error


def test_bins_of_equal_probability_see_what_equal_widths_do_not() -> None:
    # Fidelities of 9 qubits that are 60 % too large, yet nearly all in the first of 75 bins of equal width.
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 2000, 512, generator=generator, dtype=torch.float64)
    states = states / torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    fidelities = torch.linalg.vecdot(states[0], states[1]).square()
    for scale, seen in ((1.0, False), (1.6, True)):
        result = divergence_of(fidelities * scale, 9, "real", binning="probability", bins=20)
        assert (result.divergence.value > 4 * result.divergence.standard_error) == seen
        by_width = divergence_of(fidelities * scale, 9, "real", bins=20)
        assert by_width.divergence.value < 4 * by_width.divergence.standard_error + 1e-6


def test_several_inputs_are_the_samples_of_the_error() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    circuit = Circuit(2, Ansatz("RY", "none"))
    result = expressibility(circuit, inputs=x, pairs=601, bins=10)
    assert result.divergence.samples == 606
    one = expressibility(circuit, inputs=x[0], pairs=600, bins=10)
    assert result.divergence.value != one.divergence.value
    assert result.divergence.standard_error > 0


def test_a_seed_repeats_the_result_and_another_does_not() -> None:
    first, again, other = (expressibility(ONE_RY, pairs=200, seed=seed) for seed in (4, 4, 5))
    assert first == again != other
    assert first.divergence.samples == 200


def test_stated_fidelities_of_a_sampled_beta_law_match_scipy() -> None:
    law = stats.beta(2, 3)
    edges = torch.linspace(0, 1, 11).numpy()
    p = torch.tensor(law.cdf(edges[1:]) - law.cdf(edges[:-1]))
    exact = (p * (p / log_bin_masses(2, 10, "complex").exp()).log()).sum().item()
    fidelities = torch.tensor(law.rvs(4000, random_state=0))
    result = divergence_of(fidelities, 2, "complex", bins=10)
    assert abs(result.divergence.value - exact) < 4 * result.divergence.standard_error


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="`pairs` must be"):
        expressibility(ONE_RY, pairs=1)
    with pytest.raises(ConfigError, match="`bins` must be"):
        expressibility(ONE_RY, bins=1)
    with pytest.raises(ConfigError, match="`reference` must be one of"):
        expressibility(ONE_RY, reference="haar")
    with pytest.raises(ConfigError, match="Did you mean 'width'"):
        expressibility(ONE_RY, binning="widths")
