"""The circuit: an ansatz on a number of qubits with a readout, as one immutable value."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_choice, check_integer, near_matches
from amplitune.quantum.ansatz import Ansatz
from amplitune.quantum.pauli import PauliWord
from amplitune.quantum.readout import INTERFEROMETRIC, PROBABILITIES, Readout, checked_readout, observables

NORMS = ("drop", "restore")


@dataclass(frozen=True)
class Circuit:
    """A parametrised circuit on an amplitude-encoded input: what is run, without its angles.

        psi = U(theta) a,   z_k = <psi| O_k |psi>,   k = 1..m

    Args:
        n_qubits: number of qubits n, at least 1.
        ansatz: the parametrised unitary U.
        readout: the observables O_k: "Z" on each wire (m = n); "Z+ZZ", also Z_i Z_j for i < j; "XYZ", X, Y
            and Z on each wire; "probabilities" of the 2**n basis states; "interferometric",
            z_k = Re <U r| Z_k |U a> with the uniform superposition r, linear in a; or Pauli words such as
            ("X0", "Z0 Z2").
        norm: what becomes of the norm that the encoding divides by: "drop", or "restore", which multiplies
            each z_k by ||x||_2.

    Raises:
        ConfigError: an argument is of the wrong type, unknown or out of range, or two exclude each other.

    Source:
        arXiv 2509.16244 (QAA).

    Example:
        >>> circuit = Circuit(n_qubits=3, ansatz=Ansatz("RYRZ", "ring", depth=2))
        >>> circuit.n_observables, circuit.angle_shape(), circuit.is_real
        (3, (1, 2, 2, 3), False)
    """

    n_qubits: int
    ansatz: Ansatz = field(default_factory=Ansatz)
    readout: Readout = "Z"
    norm: str = "drop"

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_integer(
            "n_qubits",
            self.n_qubits,
            1,
            "Use qubits_for(features) for the smallest number that holds an input.",
        )
        if not isinstance(self.ansatz, Ansatz):
            raise ConfigError(
                f"`ansatz` must be an Ansatz, but is {self.ansatz!r}. Write, for example, "
                "Ansatz(rotation='RY', entangler='ring', depth=1)."
            )
        for pair in self.ansatz.pairs(self.n_qubits):
            if max(pair) >= self.n_qubits:
                raise ConfigError(
                    f"`entangler` must name wires from 0 to {self.n_qubits - 1} on {self.n_qubits} qubits, "
                    f"but has the pair {pair}. Name other wires, or use more qubits."
                )
        object.__setattr__(self, "readout", checked_readout(self.readout, self.n_qubits))
        if self.readout == INTERFEROMETRIC and self.ansatz.reuploading:
            raise ConfigError(
                "`readout` must not be 'interferometric' with reuploading, because a unitary that depends on "
                "the input leaves nothing linear in it, but is. Leave `reuploading` unset, or read out 'Z'."
            )
        check_choice("norm", self.norm, NORMS)

    @property
    def n_observables(self) -> int:
        """The number m of expectation values of one circuit."""
        return 2**self.n_qubits if self.readout == PROBABILITIES else len(self.observables)

    @property
    def observables(self) -> tuple[PauliWord, ...]:
        """The Pauli words O_k; none for basis probabilities."""
        return _observables(self)

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

    def to_dict(self) -> dict[str, Any]:
        """Describe the circuit in plain values, for JSON or YAML.

        Returns:
            The fields of the circuit and of its ansatz, side by side.

        Example:
            >>> Circuit.from_dict(Circuit(3).to_dict()) == Circuit(3)
            True
        """
        own = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "ansatz"}
        return own | {entry.name: getattr(self.ansatz, entry.name) for entry in fields(self.ansatz)}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> "Circuit":
        """Make the circuit that `to_dict` described.

        Args:
            description: fields of the circuit and of its ansatz; what is missing has its default.

        Returns:
            The circuit.

        Raises:
            ConfigError: a key is unknown, `n_qubits` is missing, or a value is refused.
        """
        of_ansatz = {entry.name for entry in fields(Ansatz)}
        of_circuit = {entry.name for entry in fields(cls)} - {"ansatz"}
        for key in description:
            if key not in of_ansatz | of_circuit:
                raise ConfigError(
                    f"`{key}` must be a field of a circuit, but is none. "
                    f"{near_matches(str(key), sorted(of_ansatz | of_circuit))}"
                )
        if "n_qubits" not in description:
            raise ConfigError("`n_qubits` must be given, but is missing. Give the number of qubits.")
        ansatz = Ansatz(**{key: value for key, value in description.items() if key in of_ansatz})
        return cls(ansatz=ansatz, **{key: value for key, value in description.items() if key in of_circuit})

    @property
    def key(self) -> str:
        """The description as one line of JSON, the same for equal circuits."""
        return _key(self)

    @classmethod
    def from_key(cls, key: str) -> "Circuit":
        """Make the circuit that `key` described, or hand out the one that was made before.

        Args:
            key: a circuit's key.

        Returns:
            The circuit.
        """
        return _from_key(key)

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


# A tracer must take the text as it is: it can neither look into a cache nor into the JSON encoder.
@torch.compiler.assume_constant_result
def _key(circuit: Circuit) -> str:
    return _described(circuit)


# Nor can it enter the lock of a cached_property.
@torch.compiler.assume_constant_result
def _observables(circuit: Circuit) -> tuple[PauliWord, ...]:
    return _words(circuit.readout, circuit.n_qubits)


_words = lru_cache(maxsize=1024)(observables)


@lru_cache(maxsize=1024)
def _described(circuit: Circuit) -> str:
    return json.dumps(circuit.to_dict(), sort_keys=True)


@lru_cache(maxsize=1024)
def _from_key(key: str) -> Circuit:
    return Circuit.from_dict(json.loads(key))
