"""The barren plateau's slope against closed forms."""

import math

import pytest

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import plateau_slope


def product_word(n: int) -> Circuit:
    return Circuit(n, Ansatz("RY", "none"), readout=(" ".join(f"Z{wire}" for wire in range(n)),))


def product_local(n: int) -> Circuit:
    return Circuit(n, Ansatz("RY", "none"))


def test_a_global_word_halves_its_gradient_with_each_qubit() -> None:
    plateau = plateau_slope(product_word, range(1, 8), draws=1000)
    assert abs(plateau.slope.value + 1) < 4 * plateau.slope.standard_error < 0.2
    for n, variance in zip(plateau.n_qubits, plateau.variances, strict=True):
        assert abs(variance.value - 2.0**-n) < 4 * variance.standard_error
    assert plateau.slope.samples == 7000
    assert plateau.n_qubits == tuple(range(1, 8))


def test_a_wire_by_itself_has_no_plateau() -> None:
    plateau = plateau_slope(product_local, [2, 4, 6], draws=400, observable=1, angle=1)
    assert abs(plateau.slope.value) < 4 * plateau.slope.standard_error < 0.2


def test_random_inputs_make_a_plateau_of_themselves() -> None:
    # Variances 2 / (N + 2): between 5 and 7 qubits the slope is -0.957.
    plateau = plateau_slope(product_local, [5, 7], draws=300, observable=0, angle=0, start="gaussian")
    exact = (math.log2(2 / 130) - math.log2(2 / 34)) / 2
    assert abs(plateau.slope.value - exact) < 4 * plateau.slope.standard_error < 0.8


def test_depth_that_grows_with_n_makes_a_plateau() -> None:
    plateau = plateau_slope(lambda n: Circuit(n, Ansatz("RY", "ring", depth=n)), [2, 4, 6], draws=60)
    assert plateau.slope.value + 4 * plateau.slope.standard_error < -0.5


def test_a_misfit_widens_the_error() -> None:
    # 2 / (N + 2) bends: with many draws the line misses it by more than the variances' own errors.
    wide = plateau_slope(product_word, [1, 2, 3], draws=300)
    depths = {1: product_local, 2: product_word, 3: product_local}
    bent = plateau_slope(lambda n: depths[n](n), [1, 2, 3], draws=300, observable=0, angle=0)
    assert bent.slope.standard_error > 3 * wide.slope.standard_error


def test_what_has_no_slope_is_refused() -> None:
    with pytest.raises(ConfigError, match="`n_qubits` must hold at least two different"):
        plateau_slope(product_local, [3, 3])
    with pytest.raises(ConfigError, match="at n = 2 the derivative is 0"):
        plateau_slope(product_local, [2, 3], draws=5, observable=0, angle=1)
    with pytest.raises(ConfigError, match="Did you mean 'gaussian'"):
        plateau_slope(product_local, [2, 3], start="gausian")
