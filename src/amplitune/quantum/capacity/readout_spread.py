"""Readout spread: how much a circuit's readouts differ from row to row."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from amplitune.errors import check_integer
from amplitune.quantum.capacity.concentration import GROUPS, checked_rows
from amplitune.quantum.capacity.draws import PASS, Seed, random_angles, seeded
from amplitune.quantum.capacity.estimate import Estimate, jackknife, mean
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import check_features
from amplitune.quantum.expectation import expectation


@dataclass(frozen=True)
class ReadoutSpread:
    """How much readouts vary over given rows, beside normal rows.

    Args:
        rows: mean over observables and angles of the variance of z_k over the given rows.
        gaussian: the same over as many rows of independent normal numbers, under the same angles.
        ratio: rows over gaussian.
    """

    rows: Estimate
    gaussian: Estimate
    ratio: Estimate


def readout_spread(x: Tensor, circuit: Circuit, *, draws: int = 50, seed: Seed = 0) -> ReadoutSpread:
    """Measure how much readouts of encoded rows vary from row to row, at random angles.

        spread = mean over theta and k of Var_i z_k(x_i; theta),   theta uniform on [0, 2 pi)

    What an adapter learns has to come from this spread. The norm of the rows is left out even if the circuit
    restores it. Under a real circuit, normal rows of full width have 2 / (2**n + 2) for each Pauli word with
    an even number of Y, as real random states do.

    Args:
        x: rows, real, shape (..., features), with 4 to 4096 rows.
        circuit: the circuit.
        draws: sets of angles.
        seed: a seed or a generator, for angles and normal rows.

    Returns:
        Both spreads and their ratio; errors hold the spread over angles and a jackknife over groups of rows.

    Raises:
        ConfigError: a count is out of range, a row has no state, or the circuit is too small.

    Example:
        >>> x = 3 + torch.randn(50, 8, generator=torch.Generator().manual_seed(0))  # all near one direction
        >>> spread = readout_spread(x, Circuit(3), draws=20)
        >>> spread.ratio.value < 0.6
        True
    """
    check_integer("draws", draws, 2)
    rows = checked_rows(x)
    check_features(rows, circuit.n_qubits)
    generator = seeded(seed)
    angles = random_angles(circuit, draws, generator)
    normal = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
    scale_free = replace(circuit, norm="drop")
    groups = min(len(rows), GROUPS)
    number = torch.arange(len(rows)) % groups
    tables = [_variances(some, angles, scale_free, number) for some in (rows, normal)]
    spreads = [_spread(table, len(rows)) for table in tables]
    return ReadoutSpread(spreads[0], spreads[1], _ratio(tables[0], tables[1], len(rows)))


def _spread(table: Tensor, samples: int) -> Estimate:
    """The mean over draws of a table of variances, with errors over draws and groups of rows."""
    over_draws = mean(table[0])
    over_rows = jackknife(over_draws.value, table[1:].mean(dim=1), samples)
    error = (over_rows.standard_error**2 + over_draws.standard_error**2) ** 0.5
    return Estimate(over_draws.value, error, samples)


def _ratio(rows: Tensor, gaussian: Tensor, samples: int) -> Estimate:
    """The ratio of two tables of variances, jackknifed over draws and over groups of both kinds of rows."""
    above, below = rows.mean(dim=1), gaussian.mean(dim=1)
    value = (above[0] / below[0]).item()
    draws = rows.shape[1]
    one_less = (draws * above[0] - rows[0]) / (draws * below[0] - gaussian[0])
    parts = (one_less, above[1:] / below[0], above[0] / below[1:])
    squares = [jackknife(value, part, samples).standard_error ** 2 for part in parts]
    return Estimate(value, sum(squares) ** 0.5, samples)


def _variances(rows: Tensor, angles: Tensor, circuit: Circuit, number: Tensor) -> Tensor:
    """Mean variance of z over rows for each draw: with all rows first, then without each group of rows.

    Shape (1 + groups, draws).
    """
    columns = []
    size = max(1, PASS // (len(rows) * 2**circuit.n_qubits))
    for some in angles.split(size):
        z = expectation(rows, some, circuit).reshape(len(rows), len(some), circuit.n_observables)
        kept = [number >= 0, *(number != group for group in range(int(number.max()) + 1))]
        columns.append(torch.stack([z[which].var(dim=0).mean(dim=-1) for which in kept]))
    return torch.cat(columns, dim=1)
