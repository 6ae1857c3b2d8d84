"""The Fisher information of a circuit's measured bit strings, and its spectrum."""

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_integer
from amplitune.quantum.capacity.derivatives import state_derivatives
from amplitune.quantum.capacity.draws import PASS, Seed, checked_inputs, random_angles, seeded
from amplitune.quantum.capacity.estimate import Estimate, jackknife, mean
from amplitune.quantum.circuit import Circuit

#: Inputs are left out by at most so many groups at a time.
GROUPS = 16

#: Above, one set of angles takes gigabytes and minutes.
MAX_QUBITS = 12

#: An eigenvalue below this share of the largest counts as zero.
TOLERANCE = 1e-10


@dataclass(frozen=True)
class FisherSpectrum:
    """The eigenvalues of Fisher information matrices at random angles, with inputs averaged.

    Args:
        eigenvalues: mean over angles of each eigenvalue, the largest first.
        trace: mean of the trace.
        rank: mean number of eigenvalues above 1e-10 of the largest.
        first_share: mean share of the largest eigenvalue in the trace: near 1, one direction rules.
    """

    eigenvalues: tuple[Estimate, ...]
    trace: Estimate
    rank: Estimate
    first_share: Estimate


def fisher_matrices(circuit: Circuit, angles: Tensor, inputs: Tensor | None = None) -> Tensor:
    """Compute the classical Fisher information of measuring all wires in the computational basis.

        F_ij = mean over x of sum_b 1/p_b dp_b/dtheta_i dp_b/dtheta_j,   p_b = |<b|U(theta) x>|^2
             = mean over x of sum_b g_bi g_bj,   g_b = 2 Re(conj(psi_b) dpsi_b) / |psi_b|

    This is the model p(b|x; theta) of the source, before its bit strings are summed up into labels: the most
    that a readout in this basis (Z, Z+ZZ, probabilities) can tell about the angles. X and Y need another one
    and are not described by it. For real states g = 2 dpsi, and every diagonal entry is 1.

    Args:
        circuit: the circuit; its readout is not used.
        angles: radians, shape (draws, depth, rotations, n_qubits).
        inputs: rows, shape (features,) or (rows, features); None for |0...0>.

    Returns:
        float64, shape (draws, groups, angles, angles): row i is in group i % groups, with at most 16 groups.
        A group holds its share of the mean times the number of groups, so that the mean over groups is F.

    Raises:
        ConfigError: more than 12 qubits, or an argument does not fit.

    Source:
        Abbas, Sutter, Zoufal, Lucchi, Figalli and Woerner, arXiv 2011.00027, section 2.2.

    Example:
        >>> fisher_matrices(Circuit(1), torch.zeros(1, 1, 1, 1, dtype=torch.float64)).item()
        1.0
    """
    if circuit.n_qubits > MAX_QUBITS:
        raise ConfigError(
            f"`n_qubits` must be at most {MAX_QUBITS} for Fisher information, but is {circuit.n_qubits}. "
            "Measure a smaller circuit of the same family."
        )
    circuit.check_angles(angles)
    rows = checked_inputs(inputs, circuit)
    count = angles[0].numel()
    groups = min(len(rows), GROUPS)
    matrices = torch.zeros(len(angles), groups, count, count, dtype=torch.float64)
    size = max(1, PASS // (count * 2**circuit.n_qubits))
    # Rows of one group side by side: they are then side by side in memory, where rows are the last dimension.
    labels = (torch.arange(len(rows)) % groups).sort(stable=True)
    parts = zip(rows[labels.indices].split(size), labels.values.split(size), strict=True)
    numbers = torch.arange(len(angles)).split(max(1, size // len(rows)))
    for (part, label), draws in product(list(parts), numbers):
        roots = _root_scores(*state_derivatives(part, angles[draws].double(), circuit))
        present, counts = label.unique_consecutive(return_counts=True)
        pieces = roots.permute(1, 2, 3, 0).split(counts.tolist(), dim=-1)
        for group, piece in zip(present.tolist(), pieces, strict=True):
            wide = piece.flatten(2)
            matrices[draws, group] += wide @ wide.mT
    return matrices * (groups / len(rows))


def _root_scores(states: Tensor, slopes: Tensor) -> Tensor:
    """The scores sqrt(p_b) d log p_b / d theta, shape (..., angles, 2**n)."""
    if not states.is_complex():
        return 2 * slopes
    size = states.abs()
    # An outcome of probability 0 is never measured; below this its phase is rounding.
    seen = size > 1e-14
    return 2 * torch.where(seen, (states.conj() * slopes).real / torch.where(seen, size, 1), 0)


def fisher_spectrum(
    circuit: Circuit, *, draws: int = 100, inputs: Tensor | None = None, seed: Seed = 0
) -> FisherSpectrum:
    """Give the spectrum of the Fisher information at random angles.

    Args:
        circuit: the circuit.
        draws: sets of angles, uniform on [0, 2 pi).
        inputs: rows, shape (features,) or (rows, features); None for |0...0>.
        seed: a seed or a generator.

    Returns:
        Means over angles; their errors hold the spread over angles and, with several rows, over rows.

    Raises:
        ConfigError: see `fisher_matrices`; or `draws` is below 2.

    Source:
        Abbas et al., arXiv 2011.00027, section 3.1.

    Example:
        >>> spectrum = fisher_spectrum(Circuit(2), draws=5)
        >>> [round(eigenvalue.value, 9) for eigenvalue in spectrum.eigenvalues]
        [1.0, 1.0]
    """
    check_integer("draws", draws, 2)
    return spectrum_of(fisher_matrices(circuit, random_angles(circuit, draws, seeded(seed)), inputs))


def spectrum_of(matrices: Tensor) -> FisherSpectrum:
    """Give the spectrum of Fisher information matrices.

    Args:
        matrices: as `fisher_matrices` gives them, shape (draws, groups, angles, angles).

    Returns:
        Means over draws, with errors over draws and groups.
    """
    whole = _summary(matrices.mean(dim=1))
    groups = matrices.shape[1]
    without = None
    if groups > 1:
        rest = (matrices.sum(dim=1, keepdim=True) - matrices) / (groups - 1)
        without = torch.stack([_summary(one).mean(dim=0) for one in rest.unbind(dim=1)])
    estimates = []
    for column in range(whole.shape[1]):
        estimate = mean(whole[:, column])
        error = estimate.standard_error
        if without is not None:
            over_rows = jackknife(estimate.value, without[:, column], len(whole)).standard_error
            error = (error**2 + over_rows**2) ** 0.5
        estimates.append(Estimate(estimate.value, error, len(whole)))
    return FisherSpectrum(tuple(estimates[:-3]), *estimates[-3:])


def _summary(matrices: Tensor) -> Tensor:
    """Eigenvalues (the largest first), trace, rank and largest share, shape (draws, angles + 3)."""
    eigenvalues = torch.linalg.eigvalsh(matrices).flip(-1).clamp_min(0)
    trace = eigenvalues.sum(dim=-1, keepdim=True)
    rank = (eigenvalues > TOLERANCE * eigenvalues[:, :1]).sum(dim=-1, keepdim=True)
    return torch.cat([eigenvalues, trace, rank, eigenvalues[:, :1] / trace], dim=-1)
