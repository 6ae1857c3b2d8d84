"""The ansatz: layers of single-qubit rotations around an entangler of CNOT or CZ gates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from amplitune.errors import ConfigError, check_choice, check_integer, near_matches
from amplitune.quantum.gates import RY, RZ, Gate

#: The gates on each wire, in the order in which they act; this is also the order of the rows of angles.
#: "Rot" is PennyLane's Rot(phi, theta, omega) = RZ(omega) RY(theta) RZ(phi).
ROTATIONS: dict[str, tuple[Gate, ...]] = {"RY": (RY,), "RYRZ": (RY, RZ), "Rot": (RZ, RY, RZ)}

Wires = tuple[tuple[int, int], ...]


def ring(n_qubits: int) -> Wires:
    """List the wire pairs 0->1, 1->2, ..., n-1->0; for two wires 0->1, 1->0; for one wire none.

    Args:
        n_qubits: number of wires.

    Returns:
        Pairs (control, target) in the order in which their gates act.

    Example:
        >>> ring(3)
        ((0, 1), (1, 2), (2, 0))
    """
    return (*linear(n_qubits), (n_qubits - 1, 0)) if n_qubits > 1 else ()


def linear(n_qubits: int) -> Wires:
    """List the wire pairs 0->1, 1->2, ..., n-2->n-1.

    Args:
        n_qubits: number of wires.

    Returns:
        Pairs (control, target) in the order in which their gates act.
    """
    return tuple(pairwise(range(n_qubits)))


def all_to_all(n_qubits: int) -> Wires:
    """List the wire pairs i->j for all i < j, in lexicographic order.

    Args:
        n_qubits: number of wires.

    Returns:
        Pairs (control, target) in the order in which their gates act.

    Example:
        >>> all_to_all(3)
        ((0, 1), (0, 2), (1, 2))
    """
    return tuple(combinations(range(n_qubits), 2))


def none(n_qubits: int) -> Wires:
    """List no pairs: the wires stay apart.

    Args:
        n_qubits: number of wires.

    Returns:
        The empty tuple.
    """
    return ()


#: The pairs (control, target) of an entangler's gates for a number of wires.
ENTANGLERS: dict[str, Callable[[int], Wires]] = {
    "ring": ring,
    "linear": linear,
    "all-to-all": all_to_all,
    "none": none,
}


#: The two-qubit gates of an entangler: CNOT permutes basis states, CZ changes the signs of some.
ENTANGLING_GATES = ("CNOT", "CZ")


@dataclass(frozen=True)
class Ansatz:
    """The parametrised unitary of a circuit.

        U = U_depth V ... V U_2 V U_1,   U_l = R'(theta_l) E R(theta_l)

    E is the entangler; R' is there when `rotation_after` is given; V, the reflection I - 2 |a><a| about the
    encoded input, is there when `reuploading` is on. V = A (I - 2 |0><0|) A^+ for the state preparation A.

    Args:
        rotation: gates on each wire before the entangler, one of "RY", "RYRZ" (RY, then RZ), "Rot" (RZ, then
            RY, then RZ).
        entangler: "ring", "linear", "all-to-all", "none", or pairs (control, target) of wires in the order in
            which their gates act.
        depth: number of layers, at least 1.
        entangling_gate: the gate on each pair, "CNOT" or "CZ".
        rotation_after: gates on each wire after the entangler, "none" or as `rotation`.
        reuploading: encode the input again between layers, as a reflection about it; needs `depth` >= 2.

    Raises:
        ConfigError: a name is unknown, `depth` is no integer or below 1, a pair has not two different wires,
            or `reuploading` has no place to act.

    Source:
        arXiv 2509.16244 (QAA); the defaults of the paper's circuit are RY, ring of CNOT, depth 1.

    Example:
        >>> Ansatz("Rot", "linear", depth=2, rotation_after="RY").rotations
        4
    """

    rotation: str = "RY"
    entangler: str | Wires = "ring"
    depth: int = 1
    entangling_gate: str = "CNOT"
    rotation_after: str = "none"
    reuploading: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_choice("rotation", self.rotation, ROTATIONS)
        check_choice("entangling_gate", self.entangling_gate, ENTANGLING_GATES)
        check_choice("rotation_after", self.rotation_after, ("none", *ROTATIONS))
        if isinstance(self.entangler, list | tuple):
            object.__setattr__(self, "entangler", _checked_pairs(self.entangler))
        elif not isinstance(self.entangler, str) or self.entangler not in ENTANGLERS:
            raise ConfigError(
                f"`entangler` must be one of {', '.join(map(repr, ENTANGLERS))}, or a list of wire pairs, "
                f"but is {self.entangler!r}. {near_matches(str(self.entangler), ENTANGLERS)}"
            )
        check_integer("depth", self.depth, 1, "Give the number of layers; 1 is the paper's circuit.")
        if not isinstance(self.reuploading, bool):
            raise ConfigError(
                f"`reuploading` must be true or false, but is {self.reuploading!r}. Leave it unset for false."
            )
        if self.reuploading and self.depth < 2:
            raise ConfigError(
                "`depth` must be at least 2 with reuploading, which acts between layers, but is 1. "
                "Set depth: 2, or leave `reuploading` unset."
            )

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates on each wire of a layer, before and after the entangler; the rows of its angles."""
        return ROTATIONS[self.rotation] + self.gates_after

    @property
    def gates_after(self) -> tuple[Gate, ...]:
        """The gates on each wire after the entangler; the last rows of a layer's angles."""
        return () if self.rotation_after == "none" else ROTATIONS[self.rotation_after]

    @property
    def rotations(self) -> int:
        """The number of angles of a wire in a layer."""
        return len(self.gates)

    @property
    def is_real(self) -> bool:
        """Whether a real state stays real (CNOT, CZ and reflections are real, so the rotations decide)."""
        return all(gate.is_real for gate in self.gates)

    def pairs(self, n_qubits: int) -> Wires:
        """List the entangler's wire pairs.

        Args:
            n_qubits: number of wires.

        Returns:
            Pairs (control, target) in the order in which their gates act.
        """
        return ENTANGLERS[self.entangler](n_qubits) if isinstance(self.entangler, str) else self.entangler


def _checked_pairs(pairs: Sequence[Sequence[int]]) -> Wires:
    """The user's wire pairs as tuples, or ConfigError."""
    for pair in pairs:
        good = isinstance(pair, list | tuple) and len(pair) == 2 and pair[0] != pair[1]
        if not good or any(isinstance(wire, bool) or not isinstance(wire, int) or wire < 0 for wire in pair):
            raise ConfigError(
                f"`entangler` must hold pairs of two different wires, but has {pair!r}. "
                "Write, for example, [[0, 1], [1, 2]]; the first wire of a pair is the control."
            )
    return tuple((control, target) for control, target in pairs)
