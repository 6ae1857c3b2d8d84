"""A circuit as an OpenQASM 3 program of explicit gates."""

from torch import Tensor

from amplitune.quantum.bases import Basis
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import basis_change, labels
from amplitune.quantum.export.plan import STANDARD_NAMES, chosen_basis, plan_of
from amplitune.quantum.gate_list import PlacedGate


def to_openqasm3(
    circuit: Circuit,
    angles: Tensor,
    x: Tensor | None = None,
    *,
    basis: int | None = None,
    measured: bool = True,
) -> str:
    """Write a circuit as an OpenQASM 3 program.

    Wire w is qubit q[w] and is measured into c[w]; wire 0 is the most significant bit of the index of an
    amplitude. Gates are those of stdgates.inc, with angles in radians to the last digit of float64; the
    program needs no other library. A readout whose Pauli words cannot be measured together is one program
    per basis. An interferometric readout has its ancilla on the last qubit, q[n]. Norms are not in the
    program: a readout that restores them is multiplied by ||x||_2 afterwards.

    Args:
        circuit: the circuit.
        angles: of one circuit, radians, shape ([1,] depth, rotations, n_qubits).
        x: the row whose state is prepared, shape (features,); None leaves the preparation out, and the
            program takes the qubits as they come.
        basis: index of the measurement basis in `bases_of(circuit)`; may be left out if there is one.
        measured: whether the change of basis and the measurement are part of the program.

    Returns:
        The program.

    Raises:
        ConfigError: see `plan_of` and `chosen_basis`.

    Source:
        Cross et al., "OpenQASM 3: a broader and deeper quantum assembly language", arXiv 2104.14722.

    Example:
        >>> import torch
        >>> print(to_openqasm3(Circuit(2, readout=("Z0 X1",)), torch.tensor([[[0.5, -1.0]]])).rstrip())
        OPENQASM 3.0;
        include "stdgates.inc";
        // A qubit's number is its wire; wire 0 is the most significant bit of an amplitude's index.
        // The input's state is not prepared here.
        qubit[2] q;
        // layer 1
        ry(0.5) q[0];
        ry(-1.0) q[1];
        cx q[0], q[1];
        cx q[1], q[0];
        // measurement of Z0 X1
        bit[2] c;
        h q[1];
        c[0] = measure q[0];
        c[1] = measure q[1];
    """
    chosen = chosen_basis(circuit, basis) if measured else None
    plan = plan_of(circuit, angles, x)
    lines = [
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        "// A qubit's number is its wire; wire 0 is the most significant bit of an amplitude's index.",
    ]
    if len(plan.wires) > circuit.n_qubits:
        lines.append(f"// Qubit {circuit.n_qubits} is the ancilla: (|0>|a> + |1>|r>) / sqrt(2), r uniform.")
    if plan.amplitudes is None:
        lines.append("// The input's state is not prepared here.")
    lines.append(f"qubit[{len(plan.wires)}] q;")
    if plan.amplitudes is not None:
        lines += ["// state preparation", *map(_statement, plan.preparation)]
    for layer, gates in enumerate(plan.layers):
        if layer and circuit.ansatz.reuploading:
            lines += ["// reflection about the input", *map(_statement, plan.reflection)]
        lines += [f"// layer {layer + 1}", *map(_statement, gates)]
    if chosen is not None:
        lines += [f"// measurement of {_values(circuit, chosen)}", f"bit[{len(plan.wires)}] c;"]
        lines += map(_statement, basis_change(chosen, circuit))
        lines += [f"c[{wire}] = measure q[{wire}];" for wire in sorted(plan.wires)]
    return "\n".join(lines) + "\n"


def _statement(gate: PlacedGate) -> str:
    qubits = ", ".join(f"q[{wire}]" for wire in gate.wires)
    if gate.name == "MCZ":
        controls = len(gate.wires) - 1
        return f"ctrl({controls}) @ z {qubits};" if controls else f"z {qubits};"
    angle = "" if gate.angle is None else f"({gate.angle!r})"
    return f"{STANDARD_NAMES[gate.name]}{angle} {qubits};"


def _values(circuit: Circuit, basis: Basis) -> str:
    """What a basis reads, in words."""
    written = labels(circuit)
    words = [[f"{letter}{q}" for q, letter in enumerate(written[k]) if letter != "I"] for k in basis.words]
    return ", ".join(map(" ".join, words)) or "the probabilities of all states"
