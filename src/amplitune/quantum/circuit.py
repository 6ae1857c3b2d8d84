"""The circuit: an ansatz on a number of qubits with a readout, as one immutable value."""

from dataclasses import dataclass, field

from torch import Tensor

from amplitune.errors import ConfigError, near_matches
from amplitune.quantum.ansatz import Ansatz
from amplitune.quantum.readout import READOUTS


@dataclass(frozen=True)
class Circuit:
    """A parametrised circuit on an amplitude-encoded input: what is run, without its angles.

        psi = U(theta) a,   z_k = <psi| O_k |psi>,   k = 1..m

    Args:
        n_qubits: number of qubits n, at least 1.
        ansatz: the parametrised unitary U.
        readout: the observables O_k; "Z" is Pauli Z on each wire, m = n.

    Raises:
        ConfigError: an argument is of the wrong type, unknown or out of range.

    Source:
        arXiv 2509.16244 (QAA).

    Example:
        >>> circuit = Circuit(n_qubits=3, ansatz=Ansatz("RYRZ", "ring", depth=2))
        >>> circuit.n_observables, circuit.angle_shape(), circuit.is_real
        (3, (1, 2, 2, 3), False)
    """

    n_qubits: int
    ansatz: Ansatz = field(default_factory=Ansatz)
    readout: str = "Z"

    def __post_init__(self) -> None:
        """Check the arguments."""
        if isinstance(self.n_qubits, bool) or not isinstance(self.n_qubits, int) or self.n_qubits < 1:
            raise ConfigError(
                f"`n_qubits` must be an integer of at least 1, but is {self.n_qubits!r}. "
                "Use qubits_for(features) for the smallest number that holds an input."
            )
        if not isinstance(self.ansatz, Ansatz):
            raise ConfigError(
                f"`ansatz` must be an Ansatz, but is {self.ansatz!r}. Write, for example, "
                "Ansatz(rotation='RY', entangler='ring', depth=1)."
            )
        if not isinstance(self.readout, str) or self.readout not in READOUTS:
            raise ConfigError(
                f"`readout` must be one of {', '.join(map(repr, READOUTS))}, but is {self.readout!r}. "
                f"{near_matches(str(self.readout), READOUTS)}"
            )

    @property
    def n_observables(self) -> int:
        """The number m of expectation values of one circuit."""
        return READOUTS[self.readout].n_observables(self.n_qubits)

    @property
    def is_real(self) -> bool:
        """Whether all amplitudes stay real, so that real arithmetic is enough."""
        return self.ansatz.is_real

    def angle_shape(self, circuits: int = 1) -> tuple[int, int, int, int]:
        """Give the shape of the angles.

        Args:
            circuits: number of circuits that run in parallel on the same input.

        Returns:
            (circuits, depth, rotations, n_qubits).
        """
        return circuits, self.ansatz.depth, self.ansatz.rotations, self.n_qubits

    def check_angles(self, angles: Tensor) -> None:
        """Refuse angles that do not fit this circuit.

        Args:
            angles: radians, real, shape (circuits, depth, rotations, n_qubits).

        Raises:
            ConfigError: `angles` is no floating-point tensor of this shape with at least one circuit.
        """
        if not isinstance(angles, Tensor) or not angles.is_floating_point():
            found = f"of dtype {angles.dtype}" if isinstance(angles, Tensor) else f"a {type(angles).__name__}"
            raise ConfigError(
                f"`angles` must be a real floating-point tensor, but is {found}. "
                "Make it, for example, with torch.zeros(circuit.angle_shape())."
            )
        if angles.ndim != 4 or angles.shape[0] < 1 or angles.shape[1:] != self.angle_shape()[1:]:
            expected = ", ".join(map(str, self.angle_shape()[1:]))
            raise ConfigError(
                f"`angles` must have the shape (circuits, depth, rotations, n_qubits) = "
                f"(circuits, {expected}) with at least one circuit, but has the shape {tuple(angles.shape)}. "
                "Make it, for example, with torch.zeros(circuit.angle_shape())."
            )
