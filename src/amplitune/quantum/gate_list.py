"""An ansatz with its angles as a flat list of gates, from which it is drawn, counted and exported."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.circuit import Circuit

#: Gates that are their own inverse; "MCZ" is Z on the last wire controlled by all the others.
SELF_INVERSE = ("CNOT", "CZ", "MCZ", "H", "X")


@dataclass(frozen=True)
class PlacedGate:
    """A gate on wires of a circuit.

    Args:
        name: "RY", "RZ", "CNOT", "CZ", "MCZ", "H", "X", or "SDG", the inverse of S = diag(1, i).
        wires: the wires it acts on; of a CNOT the control first.
        angle: radians; None if the gate has none, or if it is left open.
        row: for a rotation of an ansatz, the row of its layer's angles that its own is in.
    """

    name: str
    wires: tuple[int, ...]
    angle: float | None = None
    row: int | None = None


def inverted(gates: Iterable[PlacedGate]) -> list[PlacedGate]:
    """Undo gates.

    Args:
        gates: rotations and gates of SELF_INVERSE, in the order in which they act.

    Returns:
        The inverse of each, in reverse order.

    Example:
        >>> gates = [PlacedGate("RY", (0,), 0.5), PlacedGate("X", (0,))]
        >>> [(gate.name, gate.angle) for gate in inverted(gates)]
        [('X', None), ('RY', -0.5)]
    """
    undone = []
    for gate in gates:
        if gate.name not in SELF_INVERSE and gate.angle is None:
            raise ValueError(f"{gate.name} without an angle has no inverse in the list's gates")
        undone.append(gate if gate.angle is None else PlacedGate(gate.name, gate.wires, -gate.angle))
    return undone[::-1]


def flip_zero(wires: int) -> list[PlacedGate]:
    """List the gates of I - 2 |0...0><0...0|, a change of sign of the first basis state.

    Args:
        wires: number of wires.

    Returns:
        X on each wire, a Z controlled by all wires, X on each wire.
    """
    flips = [PlacedGate("X", (wire,)) for wire in range(wires)]
    return [*flips, PlacedGate("MCZ", tuple(range(wires))), *flips]


def one_circuit(angles: Tensor, circuit: Circuit) -> Tensor:
    """Check that angles are those of one circuit.

    Args:
        angles: radians, real and finite, shape ([1,] depth, rotations, n_qubits).
        circuit: the circuit.

    Returns:
        float64 on the CPU, without gradient, shape (depth, rotations, n_qubits).

    Raises:
        ConfigError: they do not fit the circuit, belong to several circuits, or are not finite.
    """
    batch = angles[None] if isinstance(angles, Tensor) and angles.ndim == 3 else angles
    circuit.check_angles(batch)
    if batch.shape[0] > 1:
        raise ConfigError(
            f"`angles` must be those of one circuit, but are of {batch.shape[0]} in parallel, each a circuit "
            "of its own on the same input. Take one with angles[k]."
        )
    if not bool(batch.isfinite().all()):
        raise ConfigError(
            "`angles` must be finite, but hold a NaN or an infinity. Take them from a sound run."
        )
    return batch[0].detach().to("cpu", torch.float64)


def layer_gates(circuit: Circuit, angles: Tensor | None = None) -> list[list[PlacedGate]]:
    """List the gates of each layer, rotations then entangler then rotations, as the ansatz is written.

    Args:
        circuit: the circuit.
        angles: radians, shape ([1,] depth, rotations, n_qubits); left open if
            None.

    Returns:
        For each layer its gates in the order in which they act; reflections stand between layers and are not
        in the lists.

    Raises:
        ConfigError: see `one_circuit`.

    Example:
        >>> [(gate.name, gate.wires) for gate in layer_gates(Circuit(2))[0]]
        [('RY', (0,)), ('RY', (1,)), ('CNOT', (0, 1)), ('CNOT', (1, 0))]
    """
    ansatz, wires = circuit.ansatz, range(circuit.n_qubits)
    values = None if angles is None else one_circuit(angles, circuit).tolist()
    first_after = ansatz.rotations - len(ansatz.gates_after)
    layers = []
    for layer in range(ansatz.depth):
        rows = [
            [
                PlacedGate(gate.name, (w,), None if values is None else values[layer][row][w], row)
                for w in wires
            ]
            for row, gate in enumerate(ansatz.gates)
        ]
        entangler = [PlacedGate(ansatz.entangling_gate, pair) for pair in ansatz.pairs(circuit.n_qubits)]
        blocks = [*rows[:first_after], entangler, *rows[first_after:]]
        layers.append([gate for block in blocks for gate in block])
    return layers


def depth_of(gates: Iterable[PlacedGate]) -> int:
    """Count the steps that gates need when those on different wires run at once.

    Args:
        gates: in the order in which they act.

    Returns:
        The length of the longest chain of gates that share wires.

    Example:
        >>> depth_of([PlacedGate("H", (0,)), PlacedGate("H", (1,)), PlacedGate("CZ", (0, 1))])
        2
    """
    busy: dict[int, int] = {}
    for gate in gates:
        step = 1 + max(busy.get(wire, 0) for wire in gate.wires)
        busy |= dict.fromkeys(gate.wires, step)
    return max(busy.values(), default=0)
