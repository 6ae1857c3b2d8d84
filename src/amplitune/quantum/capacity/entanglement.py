"""Entangling capability: Meyer and Wallach's measure of a circuit's states at random angles."""

from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.errors import check_integer
from amplitune.quantum.capacity.draws import (
    Seed,
    batches,
    checked_inputs,
    checked_reference,
    random_angles,
    seeded,
    whole_rounds,
)
from amplitune.quantum.capacity.estimate import Estimate, jackknife, mean, mean_by_row
from amplitune.quantum.capacity.haar import meyer_wallach_mean
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import encode
from amplitune.quantum.measurement import squared_magnitude
from amplitune.quantum.preparation import normalized
from amplitune.quantum.statevector import statevector


@dataclass(frozen=True)
class EntanglingCapability:
    """How entangled a circuit's states are, beside the input's own entanglement.

    Args:
        output: mean of Q over angles and inputs.
        input: mean of Q of the encoded inputs, before the circuit.
        difference: mean of Q after minus Q before, input by input.
        ratio: mean of Q after over mean of Q before; None for inputs without entanglement.
        haar: mean of Q over random states, exact.
        reference: "complex" or "real", the random states of `haar`.
    """

    output: Estimate
    input: Estimate
    difference: Estimate
    ratio: Estimate | None
    haar: float
    reference: str


def meyer_wallach(states: Tensor) -> Tensor:
    """Measure how entangled each wire is with the others, averaged over wires.

        Q = 2 (1 - 1/n sum_w tr rho_w^2) = 4/n sum_w det rho_w

    0 for products of single-qubit states, 1 when every wire is maximally mixed, as in a GHZ state.

    Args:
        states: of norm 1, real or complex, shape (..., 2**n).

    Returns:
        Q, real, shape (...).

    Source:
        Meyer and Wallach, quant-ph/0108104; in this form Brennen, quant-ph/0305094.

    Example:
        >>> meyer_wallach(torch.tensor([0.6, 0.0, 0.0, 0.8]))
        tensor(0.9216)
    """
    n_qubits = states.shape[-1].bit_length() - 1
    total = torch.zeros(states.shape[:-1], dtype=states.real.dtype)
    for wire in range(n_qubits):
        zero, one = states.reshape(*states.shape[:-1], 2**wire, 2, -1).unbind(dim=-2)
        zero, one = zero.flatten(-2), one.flatten(-2)
        weights = [squared_magnitude(half).sum(dim=-1) for half in (zero, one)]
        total = total + weights[0] * weights[1] - squared_magnitude(torch.linalg.vecdot(zero, one))
    return 4 * total / n_qubits


def entangling_capability(
    circuit: Circuit,
    *,
    draws: int = 1000,
    reference: str | None = None,
    inputs: Tensor | None = None,
    seed: Seed = 0,
) -> EntanglingCapability:
    """Average Meyer and Wallach's Q over a circuit's states at random angles.

        Ent = mean over theta of Q(U(theta) a),   theta uniform on [0, 2 pi)

    An amplitude-encoded input is entangled already: what the circuit adds is the difference.

    Args:
        circuit: the circuit; its readout is not used.
        draws: sets of angles; rounded up to a multiple of the input rows.
        reference: "complex" or "real" states for the Haar mean; None for those that fit the circuit.
        inputs: rows to start from, shape (features,) or (rows, features); None for |0...0>, as published.
        seed: a seed or a generator.

    Returns:
        Q after and before the circuit, with errors over draws (one row) or over rows (several).

    Raises:
        ConfigError: a count is too small, a name is unknown, or a row has no state.

    Source:
        Sim, Johnson and Aspuru-Guzik, arXiv 1905.10876, equation (11).

    Example:
        >>> from amplitune.quantum import Ansatz
        >>> apart = entangling_capability(Circuit(3, Ansatz(entangler="none")), draws=10)
        >>> apart.output.value < 1e-14, apart.haar
        (True, 0.6)
    """
    check_integer("draws", draws, 2)
    reference = checked_reference(reference, circuit)
    rows = checked_inputs(inputs, circuit)
    draws = whole_rounds(draws, len(rows))
    angles = random_angles(circuit, draws, seeded(seed))
    after = torch.empty(draws, dtype=torch.float64)
    for row, numbers in batches(draws, len(rows), 2**circuit.n_qubits):
        after[numbers] = meyer_wallach(statevector(rows[row], angles[numbers], circuit))
    before = meyer_wallach(normalized(encode(rows, rows.dtype, multiple=2**circuit.n_qubits)))
    return EntanglingCapability(
        output=mean_by_row(after, len(rows)),
        # One row is the whole population of inputs: its Q is exact.
        input=mean(before) if len(rows) > 1 else Estimate(before.item(), 0.0, 1),
        difference=mean_by_row(after - before.repeat(draws // len(rows)), len(rows)),
        ratio=_ratio(after, before),
        haar=meyer_wallach_mean(circuit.n_qubits, reference),
        reference=reference,
    )


def _ratio(after: Tensor, before: Tensor) -> Estimate | None:
    """Mean of `after` (draws,) over mean of `before` (rows,), jackknifed over rows, or draws of one row."""
    # Below this Q of an encoded product state is rounding.
    if before.mean() < 1e-12:
        return None
    rows = len(before)
    above = after if rows == 1 else after.reshape(-1, rows).mean(dim=0)
    below = before.expand_as(above)
    without = (above.sum() - above) / (below.sum() - below)
    return jackknife((above.sum() / below.sum()).item(), without, len(above))
