"""Measured bit strings: samples from the distribution of a circuit's outcomes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from amplitune.errors import check_integer
from amplitune.quantum.bases import bases_of
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import flattened
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.outcomes import check_generator, distributions, passes, runs_of
from amplitune.quantum.precision import compute_dtype, without_autocast
from amplitune.quantum.statevector import check_arguments


def check_shots(shots: int) -> None:
    """Refuse a number of shots that cannot be run.

    Args:
        shots: runs of the circuit in each measurement basis.

    Raises:
        ConfigError: `shots` is no integer of at least 1.
    """
    advice = "The error of an expectation value shrinks as 1 / sqrt(shots); 1000 gives about 0.03."
    check_integer("shots", shots, 1, advice)


def draw(distribution: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw outcomes, independent of each other.

    Args:
        distribution: probabilities, up to a positive factor, shape (..., outcomes).
        count: number of draws from each distribution.
        generator: on the device of `distribution`; None for torch's default one.

    Returns:
        Indices of outcomes, int64, shape (..., count); -1 where the probabilities are all zero or have a NaN.

    Example:
        >>> draw(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 3)
        tensor([[ 1,  1,  1],
                [-1, -1, -1]])
    """
    # Single precision would round the cumulative sums of thousands of outcomes.
    table = flattened(distribution).double()
    total = table.sum(dim=-1, keepdim=True)
    exists = (total > 0) & total.isfinite()
    if table.shape[0] == 0:
        return distribution.new_empty(*distribution.shape[:-1], count, dtype=torch.int64)
    outcomes = torch.multinomial(torch.where(exists, table, 1), count, replacement=True, generator=generator)
    return torch.where(exists, outcomes, -1).reshape(*distribution.shape[:-1], count)


def frequencies(outcomes: Tensor, size: int) -> Tensor:
    """Count how often each outcome was measured.

    Args:
        outcomes: indices, or -1 for none, shape (..., shots).
        size: number of possible outcomes.

    Returns:
        Counts divided by the number of shots, float64, shape (..., size); zeros where there was no outcome.

    Example:
        >>> frequencies(torch.tensor([[0, 1, 1, 1], [-1, -1, -1, -1]]), 2)
        tensor([[0.2500, 0.7500],
                [0.0000, 0.0000]], dtype=torch.float64)
    """
    rows = flattened(outcomes)
    counts = torch.zeros(rows.shape[0], size, dtype=torch.float64, device=outcomes.device)
    counts.scatter_add_(1, rows.clamp_min(0), (rows >= 0).double())
    return (counts / outcomes.shape[-1]).reshape(*outcomes.shape[:-1], size)


def measured_outcomes(
    rows: Tensor,
    angles: Tensor,
    circuit: Circuit,
    shots: int,
    generator: torch.Generator | None,
    noise: NoiseModel | None,
    trajectories: int | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Measure circuits on some tokens after the other, so that scratch memory stays bounded.

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        shots: runs of the circuit in each measurement basis.
        generator: source of the outcomes and of the errors.
        noise: the circuit's noise, if any.
        trajectories: see `runs_of`.

    Yields:
        Outcomes, shape (tokens, circuits, bases, shots), and the sum of their probabilities, shape (tokens,
        circuits, bases, 1): 1, but 0 for a row of zeros and NaN for a row with a NaN.
    """
    runs = runs_of(circuit, noise, trajectories)
    # Each trajectory gives its share of the shots: with as many trajectories as shots all are independent.
    runs = None if runs is None else min(runs, shots)
    each = -(-shots // (runs or 1))
    for some in passes(rows, angles, circuit, noise, runs, shots):
        parts, totals = [], []
        for distribution in distributions(some, angles, circuit, noise, runs, generator):
            parts.append(draw(distribution, each, generator))
            totals.append(distribution[:, :, :1].sum(dim=-1, keepdim=True))
        outcomes = torch.cat(parts, dim=2).permute(0, 1, 3, 4, 2).flatten(-2)[..., :shots]
        yield outcomes, totals[0].squeeze(2)


@torch.no_grad()
def sample(
    x: Tensor,
    angles: Tensor,
    circuit: Circuit,
    shots: int,
    generator: torch.Generator | None = None,
    noise: NoiseModel | None = None,
    trajectories: int | None = None,
) -> Tensor:
    """Run circuits on amplitude-encoded rows and measure all wires, again and again.

        P(i) = |<i| B U(theta) a>|^2,   a = pad(x) / ||x||_2

    B turns each wire into the basis in which the readout measures it. Words that need different bases are
    measured in different runs, `shots` in each basis: `bases_of(circuit)` lists them.

    Args:
        x: real, shape (..., features), any float dtype; features at most 2**n.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits); all circuits share the input.
        circuit: the circuit.
        shots: runs of the circuit for each row, in each basis.
        generator: source of the outcomes, on the device of `x`; None for torch's default one. The same seed,
            input and device give the same outcomes.
        noise: errors of gates and measurements; None for none.
        trajectories: with noise on gates, from how many random runs of the gates the shots are drawn; None
            for exact density matrices up to 6 qubits and 100 trajectories above. Shots beyond the
            trajectories share their errors: only with as many trajectories as shots are all shots
            independent.

    Returns:
        Indices of basis states, int64, shape (..., circuits, bases * shots), the shots in the first basis
        first; most readouts have one basis. Wire 0 is the most significant bit; the interferometric readout's
        ancilla stands before it. Bit 0 is the eigenvalue +1. A row of zeros, or with a NaN, has no state: -1.

    Raises:
        ConfigError: an argument has a wrong dtype, shape or value, or is on another device.

    Example:
        >>> circuit = Circuit(n_qubits=2)
        >>> x = torch.tensor([0.0, 0.0, 0.0, 1.0])
        >>> sample(x, torch.zeros(circuit.angle_shape()), circuit, shots=5)
        tensor([[2, 2, 2, 2, 2]])
    """
    check_arguments(x, angles, circuit)
    check_shots(shots)
    check_generator(generator, x.device)
    rows = flattened(x)
    angles = angles.to(compute_dtype(x, angles))
    with without_autocast(x.device):
        parts = measured_outcomes(rows, angles, circuit, shots, generator, noise, trajectories)
        outcomes = torch.cat([outcomes for outcomes, _ in parts])
    return outcomes.reshape(*x.shape[:-1], angles.shape[0], len(bases_of(circuit)) * shots)
