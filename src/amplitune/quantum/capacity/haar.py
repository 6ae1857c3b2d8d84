"""Haar's measure on states, complex or real: how fidelities are distributed and how entangled states are."""

import math
from functools import lru_cache

import torch
from torch import Tensor


def meyer_wallach_mean(n_qubits: int, reference: str) -> float:
    """Give the mean of Meyer and Wallach's Q over random states, N = 2**n.

        complex:  (N - 2) / (N + 1),     real:  (N - 2) / (N + 2)

    A real random unit vector has E[psi_p psi_q psi_r psi_s] = (d_pq d_rs + d_pr d_qs + d_ps d_qr) /
    (N (N + 2)), so a wire's purity tr rho_w^2 = sum psi_ij psi_kj psi_kl psi_il, i and k the wire's bits, has
    the mean (N/2 + 3) / (N + 2).

    Args:
        n_qubits: number of qubits n.
        reference: "complex" (unitary group) or "real" (orthogonal group).

    Returns:
        2 (1 - E tr rho_w^2), which is the same for each wire w.

    Source:
        Complex: Meyer and Wallach, quant-ph/0108104, section 4. Real: by the three pairings above.

    Example:
        >>> meyer_wallach_mean(2, "complex"), round(meyer_wallach_mean(2, "real"), 4)
        (0.4, 0.3333)
    """
    size = 2**n_qubits
    return (size - 2) / (size + (2 if reference == "real" else 1))


def fidelity_cdf(fidelities: Tensor, n_qubits: int, reference: str) -> Tensor:
    """Give the probability that two random states have at most a fidelity, N = 2**n.

        complex:  1 - (1 - F)^(N - 1)
        real:     I_F(1/2, (N - 1)/2), the regularised incomplete beta function

    Args:
        fidelities: F in [0, 1], float64, any shape.
        n_qubits: number of qubits n.
        reference: "complex" or "real".

    Returns:
        Same shape.

    Example:
        >>> fidelity_cdf(torch.tensor([0.25, 0.5], dtype=torch.float64), 1, "real")
        tensor([0.3333, 0.5000], dtype=torch.float64)
    """
    size, rest = 2**n_qubits, 1 - fidelities
    if reference == "complex":
        return -torch.expm1((size - 1) * torch.log1p(-fidelities))
    # I_x(1/2, b + 1) = I_x(1/2, b) + x^(1/2) (1 - x)^b / (b B(1/2, b)) from b = 1/2 up, an arcsine law there.
    total = torch.asin(fidelities.sqrt())
    term = (fidelities * rest).sqrt()
    for doubled in range(1, size - 1, 2):
        total = total + term
        term = term * rest * ((doubled + 1) / (doubled + 2))
    return (2 / math.pi * total).clamp(0, 1)


@lru_cache(maxsize=64)
def log_bin_masses(n_qubits: int, bins: int, reference: str) -> Tensor:
    """Give the logarithm of the probability of each bin of fidelities of two random states, N = 2**n.

        complex:  P(F) = (N - 1) (1 - F)^(N - 2)
        real:     F ~ Beta(1/2, (N - 1)/2),  the square of one coordinate of a point on the sphere S^(N-1)

    The logarithm, because the last bins' probabilities fall below the smallest float64 from n = 8 on.

    Args:
        n_qubits: number of qubits n.
        bins: number of bins of equal width on [0, 1].
        reference: "complex" or "real".

    Returns:
        float64, shape (bins,); callers must not write to it.

    Source:
        Complex: Zyczkowski and Sommers, quant-ph/0405031, equation (9) with one eigenvalue; used by Sim,
        Johnson and Aspuru-Guzik, arXiv 1905.10876, equation (8).

    Example:
        >>> log_bin_masses(1, 4, "complex").exp()
        tensor([0.2500, 0.2500, 0.2500, 0.2500], dtype=torch.float64)
        >>> log_bin_masses(1, 2, "real").exp()
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    # log P(fidelity > edge) at the lower edge of each bin; at 1 it is -inf.
    distance = 1 - torch.arange(bins, dtype=torch.float64) / bins
    size = 2**n_qubits
    above = (size - 1) * distance.log() if reference == "complex" else _log_real_tail(distance, n_qubits)
    next_above = torch.cat([above[1:], above.new_full((1,), -math.inf)])
    return above + torch.log(-torch.expm1(next_above - above))


def _log_real_tail(distance: Tensor, n_qubits: int) -> Tensor:
    """Log P(F > 1 - distance) for real states, by the power series of the incomplete beta function.

    I_y(b, 1/2) = y^b / B(b, 1/2) * sum_k (1/2)_k / k! * y^k / (b + k),  b = (N - 1)/2; no term is negative.
    """
    b = (2**n_qubits - 1) / 2
    term = torch.ones_like(distance)
    total = term / b
    # Near y = 1 the series converges slowly; there the tail is large, and 1 minus the rest loses no digits.
    below = fidelity_cdf(1 - distance, n_qubits, "real")
    easy = below < 0.9
    y = torch.where(easy, 0, distance)
    k = 0
    while (term / (b + k) > 1e-18 * total).any():
        k += 1
        term = term * y * ((k - 0.5) / k)
        total = total + term / (b + k)
    log_beta = math.lgamma(b) + math.lgamma(0.5) - math.lgamma(b + 0.5)
    return torch.where(easy, torch.log1p(-below), b * distance.log() - log_beta + total.log())
