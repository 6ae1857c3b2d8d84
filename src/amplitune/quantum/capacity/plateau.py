"""The barren plateau's slope: how fast gradients vanish as qubits are added."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from amplitune.errors import ConfigError, check_choice, check_integer
from amplitune.quantum.capacity.draws import Seed, seeded
from amplitune.quantum.capacity.estimate import Estimate
from amplitune.quantum.capacity.gradient_variance import gradient_variance
from amplitune.quantum.circuit import Circuit

#: What a circuit starts from: the state |0...0>, or rows of independent normal numbers, one for each draw.
STARTS = ("zero", "gaussian")


@dataclass(frozen=True)
class Plateau:
    """Gradient variance against the number of qubits.

    Args:
        n_qubits: the numbers of qubits.
        variances: the gradient variance at each of them.
        slope: of log2 variance against n: -1 halves the variance with each qubit, 0 is no plateau.
    """

    n_qubits: tuple[int, ...]
    variances: tuple[Estimate, ...]
    slope: Estimate


def plateau_slope(
    family: Callable[[int], Circuit],
    n_qubits: Sequence[int],
    *,
    draws: int = 500,
    observable: int | None = None,
    angle: int | None = None,
    start: str = "zero",
    seed: Seed = 0,
) -> Plateau:
    """Fit log2 of the gradient variance against the number of qubits.

        log2 Var_n = c + slope * n,   weights 1 / se(log2 Var_n)^2

    The slope's error comes from those of the variances; where they lie further from a line than these allow,
    it is widened by sqrt(chi^2 / degrees of freedom). The line is a summary of the range that was measured.

    Args:
        family: makes the circuit of n qubits; let its depth grow with n to find a plateau where there is one.
        n_qubits: at least two different numbers of qubits.
        draws: sets of angles for each circuit.
        observable: index of the observable; None for the mean over all.
        angle: index of the angle; None for the mean over all.
        start: "zero" for |0...0>, or "gaussian" for a row of 2**n normal numbers for each draw.
        seed: a seed or a generator.

    Returns:
        The variances and the slope.

    Raises:
        ConfigError: fewer than two numbers of qubits, a name is unknown, or a gradient is identically zero.

    Source:
        McClean et al., arXiv 1803.11173, figure 3.

    Example:
        >>> from amplitune.quantum import Ansatz
        >>> apart = lambda n: Circuit(n, Ansatz("RY", "none"))  # each wire by itself: no plateau
        >>> plateau = plateau_slope(apart, [2, 3, 4], draws=20, observable=0, angle=0)
        >>> abs(plateau.slope.value) < 4 * plateau.slope.standard_error
        True
    """
    check_integer("draws", draws, 2)
    if len(set(n_qubits)) < 2:
        raise ConfigError(
            f"`n_qubits` must hold at least two different numbers of qubits, but is {list(n_qubits)}. "
            "Give a range, for example range(2, 9)."
        )
    check_choice("start", start, STARTS)
    generator = seeded(seed)
    variances = []
    for n in n_qubits:
        rows = None
        if start == "gaussian":
            rows = torch.randn(draws, 2**n, generator=generator, dtype=torch.float64)
        options = {"observable": observable, "angle": angle}
        variance = gradient_variance(family(n), draws=draws, inputs=rows, seed=generator, **options)
        # 1e-28 is the square of float64's rounding.
        if variance.value < 1e-28:
            raise ConfigError(
                f"`family` must have gradients, but at n = {n} the derivative is 0 at all {draws} random "
                "angles. Choose another observable or angle: this readout does not depend on that angle."
            )
        variances.append(variance)
    return Plateau(tuple(n_qubits), tuple(variances), _fit(n_qubits, variances))


def _fit(n_qubits: Sequence[int], variances: list[Estimate]) -> Estimate:
    """The weighted least-squares slope of log2 variance."""
    x = torch.tensor(list(n_qubits), dtype=torch.float64)
    y = torch.tensor([math.log2(variance.value) for variance in variances], dtype=torch.float64)
    relative = [variance.standard_error / variance.value for variance in variances]
    # Where all draws agree to rounding, the error is 0 and the weight would be infinite.
    errors = torch.tensor(relative, dtype=torch.float64).clamp_min(1e-12) / math.log(2)
    weights = errors**-2
    centre = (weights * x).sum() / weights.sum()
    spread = (weights * (x - centre).square()).sum()
    slope = (weights * (x - centre) * y).sum() / spread
    residuals = y - (weights * y).sum() / weights.sum() - slope * (x - centre)
    misfit = (weights * residuals.square()).sum().item() / max(1, len(x) - 2)
    samples = sum(variance.samples for variance in variances)
    return Estimate(slope.item(), (max(1.0, misfit) / spread.item()) ** 0.5, samples)
