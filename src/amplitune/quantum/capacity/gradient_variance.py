"""Gradient variance: how large a readout's slope is at random angles."""

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_integer
from amplitune.quantum.capacity.derivatives import readout_derivatives
from amplitune.quantum.capacity.draws import (
    Seed,
    batches,
    checked_inputs,
    random_angles,
    seeded,
    whole_rounds,
)
from amplitune.quantum.capacity.estimate import Estimate, mean_by_row
from amplitune.quantum.circuit import Circuit


def gradient_variance(
    circuit: Circuit,
    *,
    draws: int = 500,
    observable: int | None = None,
    angle: int | None = None,
    inputs: Tensor | None = None,
    seed: Seed = 0,
) -> Estimate:
    """Estimate the variance of a readout's derivative over random angles.

        Var = E_theta[(d z_k / d theta_j)^2],   theta uniform on [0, 2 pi)

    The mean of the derivative is exactly 0, because z_k is periodic in each angle, so the mean square is the
    variance and has no bias.

    Args:
        circuit: the circuit.
        draws: sets of angles; rounded up to a multiple of the input rows.
        observable: k, from 0; None for the mean over all observables.
        angle: j, from 0, counted through (depth, rotations, n_qubits); None for the mean over all angles.
        inputs: rows to start from, shape (features,) or (rows, features); None for |0...0>.
        seed: a seed or a generator.

    Returns:
        The variance, with its error over draws (one row) or over rows (several).

    Raises:
        ConfigError: a count is too small, an index does not exist, or a row has no state.

    Source:
        McClean, Boixo, Smelyanskiy, Babbush and Neven, arXiv 1803.11173, equations (4) to (8).

    Example:
        >>> from amplitune.quantum import Ansatz
        >>> one = gradient_variance(Circuit(1, Ansatz("RY", "none")), draws=2000)  # sin^2 has the mean 1/2
        >>> abs(one.value - 0.5) < 4 * one.standard_error
        True
    """
    check_integer("draws", draws, 2)
    count = circuit.ansatz.depth * circuit.ansatz.rotations * circuit.n_qubits
    for name, index, size in (("observable", observable, circuit.n_observables), ("angle", angle, count)):
        wrong = isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < size
        if index is not None and wrong:
            raise ConfigError(
                f"`{name}` must be an index from 0 to {size - 1}, but is {index!r}. "
                "Leave it unset for the mean over all."
            )
    rows = checked_inputs(inputs, circuit)
    draws = whole_rounds(draws, len(rows))
    angles = random_angles(circuit, draws, seeded(seed))
    which = slice(None) if angle is None else slice(angle, angle + 1)
    squares = torch.empty(draws, dtype=torch.float64)
    shifts = 2 * (count if angle is None else 1)
    for row, numbers in batches(draws, len(rows), shifts * 2**circuit.n_qubits):
        slopes = readout_derivatives(rows[row], angles[numbers], circuit, which)
        if observable is not None:
            slopes = slopes[:, observable]
        squares[numbers] = slopes.square().flatten(1).mean(dim=1)
    return mean_by_row(squares, len(rows))
