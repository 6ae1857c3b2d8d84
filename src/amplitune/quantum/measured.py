"""Shots and noise for all circuits inside a with-block, such as those of a trained adapter."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.estimation import estimate
from amplitune.quantum.noise import NoiseModel, check_noise
from amplitune.quantum.noisy_expectation import noisy_expectation
from amplitune.quantum.outcomes import check_trajectories
from amplitune.quantum.sampling import check_shots


@dataclass(frozen=True)
class Measured:
    """How circuits are evaluated; made by `measured`.

    Args:
        shots: runs of each circuit in each basis, or None for expectation values without shot noise.
        noise: errors of gates and measurements, or None.
        trajectories: see `sample` and `noisy_expectation`.
        generator: source of all random numbers, or None for torch's default one.
    """

    shots: int | None = None
    noise: NoiseModel | None = None
    trajectories: int | None = None
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.shots is None and self.noise is None:
            raise ConfigError(
                "`shots` or `noise` must be given, but both are unset. Give one, or leave out `measured`: "
                "circuits are evaluated exactly without it."
            )
        if self.shots is not None:
            check_shots(self.shots)
        check_noise(self.noise)
        check_trajectories(self.trajectories)

    # A tracer can follow neither the generator nor the loops over passes.
    @torch.compiler.disable
    def expectation(self, x: Tensor, angles: Tensor, circuit: Circuit) -> Tensor:
        """Evaluate circuits in this way.

        Args:
            x: real, shape (..., features).
            angles: radians, shape (circuits, depth, rotations, n_qubits).
            circuit: the circuit.

        Returns:
            z, shape (..., circuits * m), as `estimate` or `noisy_expectation` gives it.
        """
        if self.shots is not None:
            return estimate(x, angles, circuit, self.shots, self.generator, self.noise, self.trajectories)
        assert self.noise is not None
        return noisy_expectation(x, angles, circuit, self.noise, self.trajectories, self.generator).values


_current: ContextVar[Measured | None] = ContextVar("amplitune_measured", default=None)
_lock = Lock()

#: How many blocks are open in all threads. torch.compile cannot trace the reading of a ContextVar, but checks
#: this number: compiled code runs without a break as long as no block is open anywhere, and is compiled anew
#: when the first one opens.
open_blocks = [0]


@contextmanager
def measured(
    shots: int | None = None,
    noise: NoiseModel | None = None,
    trajectories: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Measured]:
    """Evaluate every circuit inside a with-block by shots, under noise, or both.

    A trained adapter's module needs no change: each `expectation` inside the block is measured. Blocks apply
    to their own thread; the innermost one counts.

    Args:
        shots: runs of each circuit for each row, in each basis; None for expectation values without shot
            noise.
        noise: errors of gates and measurements; needs `torch.no_grad()` where a parameter requires a
            gradient.
        trajectories: number of random runs of the gates above 6 qubits; see `sample` and `noisy_expectation`.
        generator: source of all random numbers. A model on several devices needs None: torch.manual_seed then
            seeds each device.

    Yields:
        How circuits are evaluated.

    Raises:
        ConfigError: neither `shots` nor `noise` is given, or one has a value that it cannot have.

    Example:
        >>> with measured(shots=1000, generator=torch.Generator().manual_seed(0)) as evaluation:
        ...     active() is evaluation
        True
        >>> active()
    """
    evaluation = Measured(shots, noise, trajectories, generator)
    token = _current.set(evaluation)
    with _lock:
        open_blocks[0] += 1
    try:
        yield evaluation
    finally:
        with _lock:
            open_blocks[0] -= 1
        _current.reset(token)


def active() -> Measured | None:
    """Tell how circuits are evaluated here.

    Returns:
        The innermost `measured` block of this thread, or None for exact expectation values.
    """
    return _innermost() if open_blocks[0] else None


@torch.compiler.disable
def _innermost() -> Measured | None:
    return _current.get()
