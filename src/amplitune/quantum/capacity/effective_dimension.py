"""The effective dimension: how many directions of a circuit's angles so many measurements tell apart."""

import math

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_integer
from amplitune.quantum.capacity.draws import Seed, random_angles, seeded
from amplitune.quantum.capacity.estimate import Estimate
from amplitune.quantum.capacity.fisher import fisher_matrices
from amplitune.quantum.circuit import Circuit

#: Resamples of angles and inputs that give the standard error; its own error is then near 1 / sqrt(2 * 100).
RESAMPLES = 100


def effective_dimension(
    circuit: Circuit,
    *,
    data: int = 10_000,
    gamma: float = 1.0,
    draws: int = 100,
    inputs: Tensor | None = None,
    seed: Seed = 0,
) -> Estimate:
    """Estimate the effective dimension of a circuit.

        d = 2 log( E_theta sqrt(det(1 + kappa G(theta))) ) / log(kappa),   kappa = gamma n / (2 pi log n)
        G = A F / E_theta[tr F],   A the number of angles, n the number of data, F as in `fisher_matrices`

    It grows with the rank of F as n grows; divided by A it is the share of angles that count.

    Args:
        circuit: the circuit; at most 12 qubits.
        data: n, large enough that kappa > 1.
        gamma: in (0, 1].
        draws: sets of angles, uniform on [0, 2 pi).
        inputs: rows, shape (features,) or (rows, features); None for |0...0>.
        seed: a seed or a generator.

    Returns:
        The effective dimension; its error is that of a bootstrap over angles and over groups of inputs.

    Raises:
        ConfigError: an argument is out of range or does not fit.

    Source:
        Abbas, Sutter, Zoufal, Lucchi, Figalli and Woerner, arXiv 2011.00027, equation (2).

    Example:
        >>> kappa = 1000 / (2 * math.pi * math.log(1000))
        >>> one = effective_dimension(Circuit(1), data=1000, draws=2)  # F = 1 for one RY
        >>> math.isclose(one.value, math.log(1 + kappa) / math.log(kappa))
        True
    """
    check_integer("draws", draws, 2)
    _kappa(data, gamma)
    generator = seeded(seed)
    matrices = fisher_matrices(circuit, random_angles(circuit, draws, generator), inputs)
    return dimension_of(matrices, data=data, gamma=gamma, seed=generator)


def dimension_of(matrices: Tensor, *, data: int, gamma: float = 1.0, seed: Seed = 0) -> Estimate:
    """Estimate the effective dimension from Fisher information matrices.

    Args:
        matrices: as `fisher_matrices` gives them, shape (draws, groups, angles, angles).
        data: number of data.
        gamma: in (0, 1].
        seed: a seed or a generator, for the bootstrap.

    Returns:
        The effective dimension and its error.

    Raises:
        ConfigError: `data` or `gamma` is out of range, or every matrix is zero.
    """
    kappa, generator = _kappa(data, gamma), seeded(seed)
    if not (matrices.diagonal(dim1=-2, dim2=-1) > 0).any():
        raise ConfigError(
            "`matrices` must hold information, but all are zero. Use angles that change what is measured."
        )
    draws, groups = matrices.shape[:2]
    repeated = []
    for _ in range(RESAMPLES):
        counts = torch.bincount(
            torch.randint(groups, (groups,), generator=generator), minlength=groups
        ).double()
        averaged = torch.einsum("dgij,g->dij", matrices, counts / groups)
        repeated.append(_dimension(averaged[torch.randint(draws, (draws,), generator=generator)], kappa))
    value = _dimension(matrices.mean(dim=1), kappa)
    return Estimate(value.item(), torch.stack(repeated).std().item(), draws)


def _dimension(matrices: Tensor, kappa: float) -> Tensor:
    """The effective dimension from matrices (draws, angles, angles)."""
    count = matrices.shape[-1]
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(dim=-1).mean()
    identity = torch.eye(count, dtype=matrices.dtype)
    half = torch.logdet(identity + kappa * count / trace * matrices) / 2
    return 2 * (torch.logsumexp(half, dim=0) - math.log(len(half))) / math.log(kappa)


def _kappa(data: int, gamma: float) -> float:
    """The factor gamma n / (2 pi log n), or ConfigError."""
    check_integer("data", data, 2)
    if isinstance(gamma, bool) or not isinstance(gamma, int | float) or not 0 < gamma <= 1:
        raise ConfigError(f"`gamma` must be in (0, 1], but is {gamma!r}. Leave it unset for 1.")
    kappa = gamma * data / (2 * math.pi * math.log(data))
    if kappa <= 1:
        raise ConfigError(
            f"`data` must be so large that gamma * data / (2 pi log(data)) > 1, but is {data}, which gives "
            f"{kappa:.3g}. Give more data, for example {math.ceil(100 / gamma)}."
        )
    return kappa
