"""The wires of a device that runs a circuit: their numbers, and what is measured on them."""

from amplitune.quantum.bases import Basis, measured_words
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.gate_list import PlacedGate
from amplitune.quantum.preparation import ancillas

#: Gates that turn a basis into that of Z: H X H = Z and (H S^+) Y (S H) = Z.
_TO_Z = {"X": ("H",), "Y": ("SDG", "H"), "Z": ()}


def device_wires(circuit: Circuit) -> tuple[int, ...]:
    """Number the wires of a device in the order of the bits of an amplitude's index.

    The circuit's wires keep their numbers. The ancilla, which is the most significant bit, gets the number n.

    Args:
        circuit: the circuit.

    Returns:
        The number of each wire, the most significant bit first.

    Example:
        >>> device_wires(Circuit(3)), device_wires(Circuit(3, readout="interferometric"))
        ((0, 1, 2), (3, 0, 1, 2))
    """
    return (*(circuit.n_qubits for _ in range(ancillas(circuit))), *range(circuit.n_qubits))


def labels(circuit: Circuit) -> list[str]:
    """Write the words that a device measures with a letter for each of its wires, wire 0 first.

    Args:
        circuit: the circuit; all words of its readouts have the sign +1.

    Returns:
        One label per value; none for basis probabilities.

    Example:
        >>> labels(Circuit(3, readout=("X0", "Y1 Z2"))), labels(Circuit(2, readout="interferometric"))
        (['XII', 'IYZ'], ['ZIX', 'IZX'])
    """
    wires = device_wires(circuit)
    written = []
    for word in measured_words(circuit):
        letters = dict(zip(wires, word.letters(len(wires)), strict=True))
        written.append("".join(letters[wire] for wire in sorted(wires)))
    return written


def basis_change(basis: Basis, circuit: Circuit) -> list[PlacedGate]:
    """List the gates that come before a measurement in the computational basis.

    Args:
        basis: one of `bases_of(circuit)`.
        circuit: the circuit.

    Returns:
        H on each wire measured in X; S^+, then H, on each wire measured in Y.
    """
    return [
        PlacedGate(name, (wire,))
        for letter, wire in zip(basis.letters, device_wires(circuit), strict=True)
        for name in _TO_Z[letter]
    ]
