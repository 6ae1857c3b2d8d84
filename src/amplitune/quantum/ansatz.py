"""The ansatz: layers of single-qubit rotations, each followed by an entangler of CNOT gates."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import Tensor

from amplitune.errors import ConfigError, near_matches
from amplitune.quantum.gates import RY, RZ, Gate, cnot

#: The gates on each wire, in the order in which they act; this is also the order of the rows of angles.
#: "Rot" is PennyLane's Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi).
ROTATIONS: dict[str, tuple[Gate, ...]] = {"RY": (RY,), "RYRZ": (RY, RZ), "Rot": (RZ, RY, RZ)}

Wires = tuple[tuple[int, int], ...]


def ring(n_qubits: int) -> Wires:
    """List the CNOT gates 0->1, 1->2, ..., n-1->0; for two wires 0->1, 1->0; for one wire none.

    Args:
        n_qubits: number of wires.

    Returns:
        Pairs (control, target) in the order in which they act.

    Example:
        >>> ring(3)
        ((0, 1), (1, 2), (2, 0))
    """
    return (*linear(n_qubits), (n_qubits - 1, 0)) if n_qubits > 1 else ()


def linear(n_qubits: int) -> Wires:
    """List the CNOT gates 0->1, 1->2, ..., n-2->n-1.

    Args:
        n_qubits: number of wires.

    Returns:
        Pairs (control, target) in the order in which they act.
    """
    return tuple(pairwise(range(n_qubits)))


def all_to_all(n_qubits: int) -> Wires:
    """List the CNOT gates i->j for all i < j, in lexicographic order.

    Args:
        n_qubits: number of wires.

    Returns:
        Pairs (control, target) in the order in which they act.

    Example:
        >>> all_to_all(3)
        ((0, 1), (0, 2), (1, 2))
    """
    return tuple(combinations(range(n_qubits), 2))


def none(n_qubits: int) -> Wires:
    """List no gates: the wires stay apart.

    Args:
        n_qubits: number of wires.

    Returns:
        The empty tuple.
    """
    return ()


#: The pairs (control, target) of an entangler's CNOT gates for a number of wires.
ENTANGLERS: dict[str, Callable[[int], Wires]] = {
    "ring": ring,
    "linear": linear,
    "all-to-all": all_to_all,
    "none": none,
}


@dataclass(frozen=True)
class Ansatz:
    """The parametrised unitary of a circuit.

        U = E R(theta_depth) ... E R(theta_1)

    Args:
        rotation: gates on each wire, one of "RY", "RYRZ" (RY, then RZ), "Rot" (RZ, then RY, then RZ).
        entangler: CNOT gates after each layer of rotations, one of "ring", "linear", "all-to-all", "none".
        depth: number of layers, at least 1.

    Raises:
        ConfigError: a name is unknown, or `depth` is no integer or below 1.

    Source:
        arXiv 2509.16244 (QAA); the defaults of the paper's circuit are RY, ring, depth 1.

    Example:
        >>> Ansatz("Rot", "linear", depth=2).rotations
        3
    """

    rotation: str = "RY"
    entangler: str = "ring"
    depth: int = 1

    def __post_init__(self) -> None:
        """Check the names and the depth."""
        for argument, table in (("rotation", ROTATIONS), ("entangler", ENTANGLERS)):
            name = getattr(self, argument)
            if not isinstance(name, str) or name not in table:
                raise ConfigError(
                    f"`{argument}` must be one of {', '.join(map(repr, table))}, but is {name!r}. "
                    f"{near_matches(str(name), table)}"
                )
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or self.depth < 1:
            raise ConfigError(
                f"`depth` must be an integer of at least 1, but is {self.depth!r}. "
                "Give the number of layers; 1 is the paper's circuit."
            )

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates on each wire of a layer, in the order in which they act."""
        return ROTATIONS[self.rotation]

    @property
    def rotations(self) -> int:
        """The number of angles of a wire in a layer."""
        return len(self.gates)

    @property
    def is_real(self) -> bool:
        """Whether a real state stays real (CNOT gates are real, so the rotations decide)."""
        return all(gate.is_real for gate in self.gates)


def destinations(entangler: str, n_qubits: int) -> Tensor:
    """Find where an entangler sends each basis state.

        E |i> = |destination_i>

    Args:
        entangler: a name of ENTANGLERS.
        n_qubits: number of wires.

    Returns:
        Permutation of 0, ..., 2**n - 1, int64 on the CPU, shape (2**n,).

    Example:
        >>> destinations("ring", 2)
        tensor([0, 3, 1, 2])
    """
    states = torch.arange(2**n_qubits, device="cpu")
    for control, target in ENTANGLERS[entangler](n_qubits):
        states = cnot(states, control, target, n_qubits)
    return states
