"""The kernel that runs a circuit in a benchmark: forced, or the one that the rule chooses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from amplitune.quantum import Circuit
from amplitune.quantum.kernels.dispatch import VARIABLE, choose, kernel
from amplitune.quantum.program import program_of


@contextmanager
def forced(name: str | None) -> Iterator[None]:
    """Use one kernel inside a with-block, in all threads.

    By the environment variable, because autograd runs a CUDA backward pass in a thread of its own, which a
    context variable of this thread does not reach.

    Args:
        name: the kernel's name; None for the rule.

    Raises:
        ConfigError: the name is unknown.
    """
    with kernel(name):
        before = os.environ.get(VARIABLE)
        if name is not None:
            os.environ[VARIABLE] = name
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(VARIABLE, None)
            else:
                os.environ[VARIABLE] = before


def used(circuit: Circuit, x: Tensor, name: str | None) -> str:
    """Tell which kernel runs a circuit.

    Args:
        circuit: the circuit.
        x: its input, shape (tokens, features).
        name: the kernel asked for; None for the rule.

    Returns:
        The kernel's name.

    Raises:
        ConfigError: the kernel asked for is unknown or cannot run the circuit.
    """
    with forced(name):
        return choose(program_of(circuit), x).name
