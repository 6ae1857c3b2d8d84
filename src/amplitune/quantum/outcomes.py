"""The distribution of a circuit's measured bit strings, ideal or noisy."""

from collections.abc import Iterator

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_integer
from amplitune.quantum.bases import bases_of, outcome_probabilities
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.density import density_distribution
from amplitune.quantum.kernels.reference import PASS
from amplitune.quantum.noise import NoiseModel, check_noise, misread
from amplitune.quantum.preparation import ancillas, beside_reference
from amplitune.quantum.statevector import statevector
from amplitune.quantum.trajectories import trajectory_distributions

#: Up to here noise is exact by default: a density matrix of 6 qubits has 4,096 entries for each token.
MAX_DENSITY_QUBITS = 6

#: How many trajectories run above that, unless the caller says.
DEFAULT_TRAJECTORIES = 100


def check_trajectories(trajectories: int | None) -> None:
    """Refuse a number of trajectories that has no standard error.

    Args:
        trajectories: the number, or None where it is chosen here.

    Raises:
        ConfigError: `trajectories` is no integer of at least 2.
    """
    if trajectories is not None:
        check_integer(
            "trajectories",
            trajectories,
            2,
            f"Leave it unset for density matrices up to {MAX_DENSITY_QUBITS} qubits, {DEFAULT_TRAJECTORIES} "
            "runs above.",
        )


def runs_of(circuit: Circuit, noise: NoiseModel | None, trajectories: int | None) -> int | None:
    """Choose the number of trajectories.

    Args:
        circuit: the circuit.
        noise: its noise, if any.
        trajectories: as the caller wants; None for density matrices up to 6 qubits and 100 trajectories
            above.

    Returns:
        The number, or None where the distribution is exact: no noise on gates, or density matrices.

    Raises:
        ConfigError: `noise` is no noise model, or `trajectories` no integer of at least 2.
    """
    check_noise(noise)
    check_trajectories(trajectories)
    if noise is None or not noise.acts_on_gates:
        return None
    if trajectories is None and circuit.n_qubits > MAX_DENSITY_QUBITS:
        return DEFAULT_TRAJECTORIES
    return trajectories


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Refuse a generator that cannot make random numbers where they are needed.

    Args:
        generator: the generator, or None for torch's default one.
        device: of the input.

    Raises:
        ConfigError: `generator` is no generator, or on another device.
    """
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise ConfigError(
            f"`generator` must be a torch.Generator, but is {generator!r}. "
            "Make one with torch.Generator(x.device).manual_seed(0)."
        )
    if generator.device.type != device.type or (generator.device.index or 0) != (device.index or 0):
        raise ConfigError(
            f"`generator` must be on the device of `x`, {device}, but is on {generator.device}. Make one "
            "with torch.Generator(x.device), or leave it unset and call torch.manual_seed for all devices."
        )


def ideal_distribution(rows: Tensor, angles: Tensor, circuit: Circuit) -> Tensor:
    """Give the probabilities of the outcomes of circuits without noise.

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64 as the result, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.

    Returns:
        Shape (tokens, circuits, bases, 2**wires), wires with the ancilla; zeros for a row of zeros.
    """
    states = statevector(rows, angles, circuit)
    if ancillas(circuit):
        uniform = torch.ones(2**circuit.n_qubits, dtype=angles.dtype, device=rows.device)
        states = beside_reference(states, statevector(uniform, angles, circuit))
    return outcome_probabilities(states.permute(1, 2, 0), circuit).permute(3, 1, 0, 2)


def distributions(
    rows: Tensor,
    angles: Tensor,
    circuit: Circuit,
    noise: NoiseModel | None,
    runs: int | None,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    """Give the probabilities of what is read when circuits are measured, in parts that fit into memory.

    Args:
        rows: real, shape (tokens, features).
        angles: radians, float32 or float64 as the result, shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        noise: its noise, with the error of the measurement; None for none.
        runs: number of trajectories in all parts together, or None; see `runs_of`.
        generator: source of the trajectories' errors.

    Yields:
        Shape (tokens, circuits, runs, bases, 2**wires); one part with one run where the distribution is
        exact.
    """
    if noise is None or not noise.acts_on_gates:
        parts: Iterator[Tensor] = iter([ideal_distribution(rows, angles, circuit).unsqueeze(2)])
    elif runs is None:
        parts = iter([density_distribution(rows, angles, circuit, noise).unsqueeze(2)])
    else:
        parts = trajectory_distributions(rows, angles, circuit, noise, runs, generator)
    for part in parts:
        yield part if noise is None else misread(part, noise.readout_error)


def passes(
    rows: Tensor, angles: Tensor, circuit: Circuit, noise: NoiseModel | None, runs: int | None, shots: int = 0
) -> tuple[Tensor, ...]:
    """Split tokens so that what is computed for some of them at once fits into memory.

    Args:
        rows: shape (tokens, features).
        angles: shape (circuits, depth, rotations, n_qubits).
        circuit: the circuit.
        noise: its noise, if any.
        runs: number of trajectories, or None.
        shots: how many bit strings are drawn from each distribution.

    Returns:
        Parts of `rows`; at least one token each, unless there is none.
    """
    wires, bases = circuit.n_qubits + ancillas(circuit), len(bases_of(circuit))
    if noise is not None and noise.acts_on_gates and runs is None:
        entries = 4**wires
    else:
        entries = (runs or 1) * bases * 2**wires
    each = angles.shape[0] * (entries + bases * shots)
    return rows.split(max(1, PASS // each))
