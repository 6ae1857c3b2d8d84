"""Concentration: how close together rows are as amplitude-encoded states."""

from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.capacity.draws import Seed, check_states, seeded
from amplitune.quantum.capacity.estimate import Estimate, jackknife
from amplitune.quantum.encoding import encode
from amplitune.quantum.preparation import normalized

#: Groups of rows that the jackknife leaves out in turn.
GROUPS = 20

#: The matrix of all pairs is made: 4096 rows fill 128 MiB.
MAX_ROWS = 4096

#: Of the pairwise fidelities.
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Closeness:
    """How close encoded rows are to each other.

    Args:
        fidelity: mean of <a_i|a_j>^2 over pairs of different rows.
        fidelity_quantiles: 5 %, 50 % and 95 % of the pairs lie below these fidelities.
        mean_direction: mean of <a_i|m>^2, with m the direction of the mean amplitude vector.
        leading_direction: largest eigenvalue of rho = mean of |a_i><a_i|, the most one direction explains.
        effective_rank: exp(entropy of the eigenvalues of rho), at most the number of rows and of features.
    """

    fidelity: Estimate
    fidelity_quantiles: tuple[float, float, float]
    mean_direction: Estimate
    leading_direction: Estimate
    effective_rank: Estimate


@dataclass(frozen=True)
class Concentration:
    """Closeness of given rows beside that of as many rows of independent normal numbers.

    Args:
        rows: of the given rows.
        gaussian: of the normal rows, of the same shape.
    """

    rows: Closeness
    gaussian: Closeness


def concentration(x: Tensor, *, seed: Seed = 0) -> Concentration:
    """Measure how far apart amplitude-encoded rows are, and what independent normal rows would give.

        a_i = x_i / ||x_i||,   fidelity = <a_i|a_j>^2,   rho = mean_i |a_i><a_i|

    A circuit without re-uploading keeps all fidelities, so rows that are encoded close together stay close
    for every readout: |z_k(i) - z_k(j)| <= 2 ||O_k|| sqrt(1 - fidelity).

    Args:
        x: rows, real, shape (..., features), with 4 to 4096 rows.
        seed: a seed or a generator, for the normal rows.

    Returns:
        Both; errors by a jackknife over 20 groups of rows (or over single rows where there are fewer).

    Raises:
        ConfigError: too few or too many rows, or a row that is zero or not finite.

    Source:
        Effective rank: Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = 3 + torch.randn(100, 32, generator=generator, dtype=torch.float64)  # all near one direction
        >>> result = concentration(x)
        >>> result.rows.fidelity.value > 0.7, result.gaussian.fidelity.value < 0.05
        (True, True)
    """
    rows = checked_rows(x)
    normal = torch.randn(rows.shape, generator=seeded(seed), dtype=torch.float64)
    return Concentration(closeness(rows), closeness(normal))


def closeness(x: Tensor) -> Closeness:
    """Measure how close together encoded rows are.

    Args:
        x: rows, shape (..., features), with 4 to 4096 rows.

    Returns:
        The measures, with errors by a jackknife over groups of rows.

    Raises:
        ConfigError: as for `concentration`.
    """
    rows = checked_rows(x)
    count = len(rows)
    encoded = normalized(encode(rows, rows.dtype))
    fidelities = (encoded @ encoded.T).square()
    first, second = torch.triu_indices(count, count, offset=1)
    pairs = fidelities[first, second].sort().values
    levels = [pairs[round(level * (len(pairs) - 1))].item() for level in QUANTILES]
    whole = _summary(encoded, fidelities)
    groups = min(count, GROUPS)
    kept = [torch.arange(count) % groups != group for group in range(groups)]
    without = torch.stack([_summary(encoded[some], fidelities[some][:, some]) for some in kept])
    fidelity, mean_direction, leading, rank = (
        jackknife(value.item(), column, count) for value, column in zip(whole, without.T, strict=True)
    )
    return Closeness(fidelity, (levels[0], levels[1], levels[2]), mean_direction, leading, rank)


def checked_rows(x: Tensor) -> Tensor:
    """Give rows that can be compared in pairs.

    Args:
        x: shape (..., features).

    Returns:
        float64 on the CPU, shape (rows, features).

    Raises:
        ConfigError: no floating-point tensor, fewer than 4 or more than 4096 rows, or a row without a state.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2 or x.shape[-1] == 0:
        found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ConfigError(
            f"`x` must be a floating-point tensor of shape (rows, features), but is {found}. "
            "Put the features into the last dimension."
        )
    rows = x.detach().to("cpu", torch.float64).reshape(-1, x.shape[-1])
    if len(rows) < 4:
        raise ConfigError(
            f"`x` must have at least 4 rows, for an error of what their pairs say, but has {len(rows)}. "
            "Give more rows."
        )
    if len(rows) > MAX_ROWS:
        raise ConfigError(
            f"`x` must have at most {MAX_ROWS} rows, because all pairs are compared, but has {len(rows)}. "
            "Take a random sample of the rows."
        )
    check_states("x", rows)
    return rows


def _summary(encoded: Tensor, fidelities: Tensor) -> Tensor:
    """Mean fidelity, shares of the mean and the leading direction, effective rank: shape (4,)."""
    count, features = encoded.shape
    # The sum over the diagonal is the number of rows.
    fidelity = (fidelities.sum() - count) / (count * (count - 1))
    centre = encoded.mean(dim=0)
    direction = centre / torch.linalg.vector_norm(centre)
    mean_direction = (encoded @ direction).square().mean()
    # rho and the rows' Gram matrix have the same eigenvalues but for zeros.
    small = encoded @ encoded.T if count < features else encoded.T @ encoded
    eigenvalues = torch.linalg.eigvalsh(small / count).clamp_min(0)
    entropy = -torch.xlogy(eigenvalues, eigenvalues).sum()
    return torch.stack([fidelity, mean_direction, eigenvalues[-1], entropy.exp()])
