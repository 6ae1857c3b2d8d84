"""What every exporter writes down: preparation, layers with reflections between them, and the measurement."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.bases import Basis, bases_of
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import device_wires
from amplitune.quantum.gate_list import PlacedGate, flip_zero, inverted, layer_gates
from amplitune.quantum.preparation_gates import device_amplitudes, preparation_gates

#: The gates' names in OpenQASM's stdgates.inc, which are also those of the methods of Qiskit's circuits.
STANDARD_NAMES = {"RY": "ry", "RZ": "rz", "CNOT": "cx", "CZ": "cz", "H": "h", "X": "x", "SDG": "sdg"}

NEEDS_X = (
    "`x` must be given with reuploading, because the reflections between layers are made from it, but is "
    "not. Give one row of the layer's input."
)


@dataclass(frozen=True)
class Plan:
    """A circuit with its angles and its input, checked.

    Args:
        circuit: the circuit.
        layers: the gates of each layer.
        amplitudes: the state in which it starts, as `device_amplitudes` gives it; None if it is prepared
            elsewhere.
    """

    circuit: Circuit
    layers: list[list[PlacedGate]]
    amplitudes: Tensor | None

    @property
    def wires(self) -> tuple[int, ...]:
        """The device's wires, that of the most significant bit first."""
        return device_wires(self.circuit)

    @cached_property
    def preparation(self) -> list[PlacedGate]:
        """The gates that prepare the input from |0...0>; none if it is prepared elsewhere."""
        return [] if self.amplitudes is None else preparation_gates(self.amplitudes, self.wires)

    @cached_property
    def reflection(self) -> list[PlacedGate]:
        """The gates of V = A (I - 2 |0><0|) A^+, the reflection about the input."""
        return [*inverted(self.preparation), *flip_zero(len(self.wires)), *self.preparation]


def plan_of(circuit: Circuit, angles: Tensor, x: Tensor | None) -> Plan:
    """Check what is to be exported.

    Args:
        circuit: the circuit.
        angles: of one circuit, radians, shape ([1,] depth, rotations, n_qubits).
        x: the row whose state preparation is part of the circuit, shape (features,); None leaves it out.

    Returns:
        The plan.

    Raises:
        ConfigError: the angles are not those of one circuit, `x` is no state, or `x` is left out though the
            circuit reflects about it.
    """
    layers = layer_gates(circuit, angles)
    if x is None and circuit.ansatz.reuploading:
        raise ConfigError(NEEDS_X)
    return Plan(circuit, layers, None if x is None else device_amplitudes(x, circuit))


def chosen_basis(circuit: Circuit, basis: int | None) -> Basis:
    """Find the measurement basis that is meant.

    Args:
        circuit: the circuit.
        basis: its index in `bases_of(circuit)`; None if there is one only.

    Returns:
        The basis.

    Raises:
        ConfigError: there is no such basis, or none is named and there are several.
    """
    known = bases_of(circuit)
    if basis is None and len(known) == 1:
        return known[0]
    if isinstance(basis, int) and not isinstance(basis, bool) and 0 <= basis < len(known):
        return known[basis]
    found = "is not given" if basis is None else f"is {basis!r}"
    raise ConfigError(
        f"`basis` must be an integer from 0 to {len(known) - 1}, because this readout is measured in "
        f"{len(known)} bases, one after the other, but {found}. Name one; bases_of(circuit) lists them."
    )
