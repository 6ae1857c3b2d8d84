"""A circuit drawn as text, one line per wire."""

from dataclasses import dataclass, field

from torch import Tensor

from amplitune.errors import check_integer
from amplitune.quantum.bases import bases_of
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import device_wires, labels
from amplitune.quantum.gate_list import PlacedGate, layer_gates
from amplitune.quantum.preparation import ancillas
from amplitune.quantum.readout import PROBABILITIES

NARROWEST = 40
_LISTED = 12


@dataclass
class _Column:
    """Gates on different wires that are drawn above each other, and the wires that they cover."""

    cells: dict[int, str] = field(default_factory=dict)
    covered: set[int] = field(default_factory=set)


def draw(circuit: Circuit, angles: Tensor | None = None, width: int = 100) -> str:
    """Draw a circuit.

    A is the amplitude embedding of the input, V the reflection about it. The letters at the end of a wire are
    the bases in which the readout measures it, p stands for basis probabilities. Gates of an entangler that
    share no wire may be drawn above each other although one acts first; the result is the same.

    Args:
        circuit: the circuit.
        angles: radians to write into the rotations, shape ([circuits,] depth, rotations, n_qubits); circuits
            in parallel are drawn one below the other.
        width: characters per line, at least 40; a longer circuit goes on below, marked by dots.

    Returns:
        Lines without trailing newline, the last ones a legend.

    Raises:
        ConfigError: the angles do not fit the circuit, or `width` is too small.

    Example:
        >>> print(draw(Circuit(3)))
        0: ─╭A─RY─╭●────╭X─┤ Z
        1: ─├A─RY─╰X─╭●─│──┤ Z
        2: ─╰A─RY────╰X─╰●─┤ Z
        A: amplitudes x / ||x||, wire 0 the most significant bit
        reads 3 values: Z0, Z1, Z2
    """
    check_integer("width", width, NARROWEST, "100 suits most terminals.")
    if angles is None:
        lines = _segments(circuit, None, width)
    else:
        batch = angles[None] if isinstance(angles, Tensor) and angles.ndim == 3 else angles
        circuit.check_angles(batch)
        lines = []
        for index, one in enumerate(batch):
            lines += [f"circuit {index} of {len(batch)}"] if len(batch) > 1 else []
            lines += _segments(circuit, one, width)
    return "\n".join(lines + _legend(circuit))


def _segments(circuit: Circuit, angles: Tensor | None, width: int) -> list[str]:
    """The lines of one circuit, wrapped."""
    wires = sorted(device_wires(circuit))
    names = [str(wire) if wire < circuit.n_qubits else "a" for wire in wires]
    margin = max(map(len, names))
    ends = _measured_letters(circuit)
    room = width - margin - 6 - max(map(len, ends))
    rendered = [_rendered(column, wires) for column in _columns(circuit, angles)]
    segments: list[list[list[str]]] = [[]]
    used = 0
    for cells in rendered:
        if segments[-1] and used + len(cells[0]) + 1 > room:
            segments.append([])
            used = 0
        segments[-1].append(cells)
        used += len(cells[0]) + 1
    lines: list[str] = []
    for index, segment in enumerate(segments):
        lines += [""] if index else []
        first, last = index == 0, index == len(segments) - 1
        for row in range(len(wires)):
            body = "─".join(cells[row] for cells in segment)
            end = f"┤ {ends[row]}".rstrip() if last else "···"
            lines.append(f"{names[row]:>{margin}}: {'─' if first else '···─'}{body}─{end}")
    return lines


def _columns(circuit: Circuit, angles: Tensor | None) -> list[_Column]:
    """Each gate of a block in the first column after those that hold its wires."""
    wires = device_wires(circuit)
    columns = [_joined("A", sorted(wires))]
    first = len(columns)
    for layer, gates in enumerate(layer_gates(circuit, angles)):
        if layer and circuit.ansatz.reuploading:
            columns.append(_joined("V", sorted(wires)))
        row: int | None = -1
        for gate in gates:
            # Each row of rotations and each entangler starts a column of its own, so that layers stay apart.
            first = len(columns) if gate.row != row else first
            row = gate.row
            covered = set(range(min(gate.wires), max(gate.wires) + 1))
            place = len(columns)
            while place > first and not columns[place - 1].covered & covered:
                place -= 1
            if place == len(columns):
                columns.append(_Column())
            columns[place].cells |= _cells(gate)
            columns[place].covered |= covered
    return columns


def _joined(letter: str, wires: list[int]) -> _Column:
    """A gate on all wires."""
    marks = [""] if len(wires) == 1 else ["╭", *["├"] * (len(wires) - 2), "╰"]
    return _Column({w: f"{mark}{letter}" for w, mark in zip(wires, marks, strict=True)}, set(wires))


def _cells(gate: PlacedGate) -> dict[int, str]:
    if len(gate.wires) == 1:
        # Adding zero turns -0.0 into 0.0.
        angle = "" if gate.angle is None else f"({round(gate.angle, 2) + 0.0:.2f})"
        return {gate.wires[0]: f"{gate.name}{angle}"}
    control, target = gate.wires
    top, bottom = min(gate.wires), max(gate.wires)
    cells = dict.fromkeys(range(top, bottom + 1), "│")
    cells[control] = "●"
    cells[target] = "X" if gate.name == "CNOT" else "Z"
    return cells | {top: f"╭{cells[top]}", bottom: f"╰{cells[bottom]}"}


def _rendered(column: _Column, wires: list[int]) -> list[str]:
    """The cells of all wires, equally wide."""
    width = max(map(len, column.cells.values()))
    return [f"{column.cells.get(wire, ''):─<{width}}" for wire in wires]


def _measured_letters(circuit: Circuit) -> list[str]:
    """For each wire of the device the bases in which a word of the readout reads it."""
    wires = sorted(device_wires(circuit))
    if circuit.readout == PROBABILITIES:
        return ["p"] * len(wires)
    written = labels(circuit)
    return ["".join(sorted({label[wire] for label in written} - {"I"})) for wire in wires]


def _legend(circuit: Circuit) -> list[str]:
    lines = ["A: amplitudes x / ||x||, wire 0 the most significant bit"]
    if ancillas(circuit):
        lines = ["A: (|0>|x / ||x||> + |1>|r>) / sqrt(2), r uniform, a the ancilla, most significant bit"]
    if circuit.ansatz.reuploading:
        lines.append("V: reflection I - 2 |a><a| about the state a that A prepares")
    if circuit.readout == PROBABILITIES:
        values = f"reads {circuit.n_observables} values: the probabilities of the basis states"
    else:
        names = [*map(str, range(circuit.n_qubits)), "a"]
        listed = [
            " ".join(letter + names[wire] for wire, letter in enumerate(label) if letter != "I")
            for label in labels(circuit)
        ]
        more = f", and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
        values = f"reads {len(listed)} value{'s' * (len(listed) > 1)}: {', '.join(listed[:_LISTED])}{more}"
    bases = len(bases_of(circuit))
    values += f"; in {bases} measurement bases" if bases > 1 else ""
    values += "; multiplied by ||x||" if circuit.norm == "restore" else ""
    return [*lines, values]
