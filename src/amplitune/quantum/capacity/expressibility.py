"""Expressibility: how far the states that a circuit reaches are from states spread evenly."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.errors import check_choice, check_integer
from amplitune.quantum.capacity.draws import (
    Seed,
    batches,
    checked_inputs,
    checked_reference,
    random_angles,
    seeded,
    whole_rounds,
)
from amplitune.quantum.capacity.estimate import Estimate
from amplitune.quantum.capacity.haar import fidelity_cdf, log_bin_masses
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.measurement import squared_magnitude
from amplitune.quantum.statevector import statevector

#: How many samples of as many Haar fidelities tell what the plug-in value of a perfect circuit would be.
HAAR_REPETITIONS = 200

#: Bins of equal width in F, as published, or bins that random states fill equally.
BINNINGS = ("width", "probability")


@dataclass(frozen=True)
class Expressibility:
    """The divergence of a circuit's fidelities from those of random states, in nats: 0 is best.

    Args:
        divergence: the divergence with its finite-sample bias taken off; can fall a little below 0.
        plug_in: the divergence of the histogram as it is: the published convention, biased upwards.
        haar: plug-in divergence of equally many random states; its `standard_error` is the standard deviation
            of one such value. A plug-in value inside this range cannot be told from Haar's measure.
        reference: "complex" (unitary group) or "real" (orthogonal group).
        bins: number of bins of the histogram.
        binning: "width" or "probability".
    """

    divergence: Estimate
    plug_in: float
    haar: Estimate
    reference: str
    bins: int
    binning: str


def expressibility(
    circuit: Circuit,
    *,
    pairs: int = 5000,
    bins: int = 75,
    binning: str = "width",
    reference: str | None = None,
    inputs: Tensor | None = None,
    seed: Seed = 0,
) -> Expressibility:
    """Compare the fidelities of pairs of a circuit's states at random angles with those of random states.

        Expr = D_KL( P(|<psi(theta)|psi(phi)>|^2) || P_Haar ),   theta, phi uniform on [0, 2 pi)

    Both states of a pair start from the same input. A circuit of real gates never leaves the real states, so
    the orthogonal group is what it could reach; against the unitary group it would never come to 0.

    Nearly all random states have a fidelity under 1/75 from n = 8 on, where bins of equal width see little
    but the first of them; bins of equal probability keep their resolution, and are no published convention.

    Args:
        circuit: the circuit; its readout is not used.
        pairs: pairs of states; rounded up to a multiple of the input rows.
        bins: number of bins.
        binning: "width" for bins of equal width on [0, 1], "probability" for bins that random states fill
            equally.
        reference: "complex" or "real"; None for the one that fits the circuit.
        inputs: rows to start from, shape (features,) or (rows, features); None for |0...0>, as published.
        seed: a seed or a generator.

    Returns:
        The divergence, its error and bias, and what random states would have given.

    Raises:
        ConfigError: a count is too small, a name is unknown, or a row has no state.

    Source:
        Sim, Johnson and Aspuru-Guzik, arXiv 1905.10876, equations (7) to (9): 5000 pairs, 75 bins.

    Example:
        >>> result = expressibility(Circuit(2), pairs=500, bins=20)
        >>> result.reference, result.plug_in > result.divergence.value
        ('real', True)
    """
    check_integer("pairs", pairs, 2)
    check_integer("bins", bins, 2)
    check_choice("binning", binning, BINNINGS)
    reference = checked_reference(reference, circuit)
    rows = checked_inputs(inputs, circuit)
    generator = seeded(seed)
    pairs = whole_rounds(pairs, len(rows))
    angles = random_angles(circuit, 2 * pairs, generator).reshape(2, pairs, *circuit.angle_shape()[1:])
    fidelities = torch.empty(pairs, dtype=torch.float64)
    for row, numbers in batches(pairs, len(rows), 2**circuit.n_qubits):
        first, second = (statevector(rows[row], half[numbers], circuit) for half in angles)
        fidelities[numbers] = squared_magnitude(torch.linalg.vecdot(first, second))
    by_row = fidelities.reshape(-1, len(rows))
    return divergence_of(by_row, circuit.n_qubits, reference, bins=bins, binning=binning, seed=generator)


def divergence_of(
    fidelities: Tensor,
    n_qubits: int,
    reference: str,
    *,
    bins: int = 75,
    binning: str = "width",
    seed: Seed = 0,
) -> Expressibility:
    """Compare fidelities with those of random states.

        plug-in:    sum_b p_b ln(p_b / q_b),  p the histogram, q Haar's probabilities of the bins
        corrected:  g KL - (g - 1) mean_i KL_(-i), the jackknife over g pairs, or over g > 1 rows

    The plug-in value of S samples of q itself is near (bins - 1) / (2 S), not 0: with 75 bins and 5000 pairs
    it is 0.0074, no smaller than many differences between published circuits.

    Args:
        fidelities: in [0, 1], shape (pairs,), or (pairs, rows) when each column has an input of its own.
        n_qubits: number of qubits.
        reference: "complex" or "real".
        bins: number of bins.
        binning: "width" or "probability".
        seed: a seed or a generator, for the samples of q.

    Returns:
        The divergence, its error and bias, and what random states would have given.

    Example:
        >>> idle = divergence_of(torch.ones(100, dtype=torch.float64), 1, "complex")
        >>> round(idle.plug_in, 3), round(math.log(75), 3)
        (4.317, 4.317)
    """
    check_choice("binning", binning, BINNINGS)
    # Rounding can leave a fidelity just above 1.
    columns = fidelities.reshape(len(fidelities), -1).clamp(0, 1)
    if binning == "width":
        log_q = log_bin_masses(n_qubits, bins, reference)
    else:
        log_q = torch.full((bins,), -math.log(bins), dtype=torch.float64)
        columns = fidelity_cdf(columns, n_qubits, reference)
    index = (columns * bins).long().clamp(0, bins - 1)
    per_row = torch.stack([torch.bincount(column, minlength=bins) for column in index.T]).double()
    counts = per_row.sum(dim=0)
    if len(per_row) > 1:
        left_out, weights = per_row, torch.ones(len(per_row), dtype=torch.float64)
    else:
        occupied = counts.nonzero()[:, 0]
        left_out, weights = torch.eye(bins, dtype=torch.float64)[occupied], counts[occupied]
    whole = _divergence(counts, log_q)
    without = _divergence(counts - left_out, log_q)
    groups = weights.sum()
    average = (weights * without).sum() / groups
    variance = (groups - 1) / groups * (weights * (without - average).square()).sum()
    samples = fidelities.numel()
    corrected = groups * whole - (groups - 1) * average
    masses = log_q.exp().expand(HAAR_REPETITIONS, -1)
    haar_index = torch.multinomial(masses, samples, replacement=True, generator=seeded(seed))
    ones = torch.ones_like(haar_index, dtype=torch.float64)
    haar = _divergence(torch.zeros_like(masses).scatter_add(1, haar_index, ones), log_q)
    return Expressibility(
        divergence=Estimate(corrected.item(), math.sqrt(variance.item()), samples),
        plug_in=whole.item(),
        haar=Estimate(haar.mean().item(), haar.std().item(), samples),
        reference=reference,
        bins=bins,
        binning=binning,
    )


def _divergence(counts: Tensor, log_q: Tensor) -> Tensor:
    """sum_b p_b ln(p_b / q_b) of histograms, shape (..., bins) -> (...)."""
    total = counts.sum(dim=-1)
    weighted = torch.xlogy(counts, counts) - torch.where(counts > 0, counts * log_q, 0)
    return weighted.sum(dim=-1) / total - total.log()
