"""The kernel that runs a circuit in a benchmark: the one asked for, or the one that the rule chooses."""

from torch import Tensor

from amplitune.quantum import Circuit
from amplitune.quantum.kernels.dispatch import choose, kernel
from amplitune.quantum.program import program_of


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
    with kernel(name):
        return choose(program_of(circuit), x).name
