"""The random draws that a capacity measure averages over, checked."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_choice
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import check_features

#: Amplitudes that are computed at a time, so that scratch memory stays bounded.
PASS = 2**21

#: The group over which Haar's measure is taken: unitary (complex states) or orthogonal (real states).
REFERENCES = ("complex", "real")

Seed = int | torch.Generator


def seeded(seed: Seed) -> torch.Generator:
    """Make a generator of random numbers.

    Args:
        seed: a seed, or a generator on the CPU, which is handed back.

    Returns:
        The generator.

    Raises:
        ConfigError: `seed` is neither.
    """
    if isinstance(seed, torch.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(
            f"`seed` must be an integer or a torch.Generator, but is {seed!r}. Give, for example, seed=0."
        )
    return torch.Generator().manual_seed(seed)


def checked_reference(reference: str | None, circuit: Circuit) -> str:
    """Choose the ensemble that a circuit is held against.

    Args:
        reference: "complex", "real", or None: "real" for a circuit that keeps real states real.
        circuit: the circuit.

    Returns:
        "complex" or "real".

    Raises:
        ConfigError: the name is unknown.

    Example:
        >>> checked_reference(None, Circuit(2))
        'real'
    """
    if reference is None:
        return "real" if circuit.is_real else "complex"
    check_choice("reference", reference, REFERENCES)
    return reference


def checked_inputs(inputs: Tensor | None, circuit: Circuit) -> Tensor:
    """Give the rows that a circuit starts from.

    Args:
        inputs: real, shape (features,) or (rows, features); None for the state |0...0>.
        circuit: the circuit.

    Returns:
        float64 on the CPU, shape (rows, features).

    Raises:
        ConfigError: the shape does not fit, or a row has no state: it is all zeros, or not finite.
    """
    if inputs is None:
        return torch.ones(1, 1, dtype=torch.float64)
    check_features(inputs, circuit.n_qubits)
    if inputs.ndim > 2 or inputs.shape[0] == 0:
        raise ConfigError(
            f"`inputs` must have the shape (features,) or (rows, features) with at least one row, but has "
            f"the shape {tuple(inputs.shape)}. Flatten it, for example with inputs.flatten(0, -2)."
        )
    rows = inputs.detach().to("cpu", torch.float64).reshape(-1, inputs.shape[-1])
    check_states("inputs", rows)
    return rows


def check_states(argument: str, rows: Tensor) -> None:
    """Refuse rows that no state encodes.

    Args:
        argument: its name.
        rows: real, shape (rows, features).

    Raises:
        ConfigError: a row is all zeros, or not finite.
    """
    bad = ~rows.isfinite().all(dim=1) | (rows == 0).all(dim=1)
    if bad.any():
        raise ConfigError(
            f"`{argument}` must hold finite rows that are not all zero, but row {int(bad.nonzero()[0])} is "
            "not. Leave such rows out; they have no state."
        )


def random_angles(circuit: Circuit, draws: int, generator: torch.Generator) -> Tensor:
    """Draw angles uniformly from [0, 2 pi), each by itself.

    Args:
        circuit: the circuit.
        draws: how many sets of angles.
        generator: the source of randomness.

    Returns:
        Radians, float64, shape (draws, depth, rotations, n_qubits).
    """
    return 2 * math.pi * torch.rand(circuit.angle_shape(draws), generator=generator, dtype=torch.float64)


def batches(draws: int, rows: int, amplitudes: int) -> Iterator[tuple[int, Tensor]]:
    """Deal draws to rows in turn (draw i meets row i % rows), in batches that fit into scratch memory.

    Args:
        draws: how many draws.
        rows: how many input rows.
        amplitudes: how many numbers one draw needs.

    Yields:
        A row, and the draws of one batch that meet it.

    Example:
        >>> [(row, numbers.tolist()) for row, numbers in batches(5, 2, amplitudes=4)]
        [(0, [0, 2, 4]), (1, [1, 3])]
    """
    size = max(1, PASS // amplitudes)
    for row in range(min(rows, draws)):
        for numbers in torch.arange(row, draws, rows).split(size):
            yield row, numbers


def whole_rounds(draws: int, rows: int) -> int:
    """Round a number of draws up, so that each row meets equally many.

    Args:
        draws: how many draws are wanted.
        rows: how many input rows.

    Returns:
        A multiple of `rows`.
    """
    return -(-draws // rows) * rows
