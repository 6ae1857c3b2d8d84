"""Python scripts that build circuits in PennyLane or Qiskit and need nothing of amplitune."""

import textwrap

from torch import Tensor

from amplitune.errors import check_choice
from amplitune.quantum.bases import bases_of
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import device_wires, labels
from amplitune.quantum.export.plan import STANDARD_NAMES, plan_of
from amplitune.quantum.gate_list import PlacedGate, layer_gates
from amplitune.quantum.preparation import ancillas
from amplitune.quantum.readout import PROBABILITIES

SCRIPTS = ("pennylane", "qiskit")

_HEADER = '''"""{title}

Wire 0 is the most significant bit of an amplitude's index.{notes}
Run as a program, this file prints the exact values of each circuit as one line of JSON{start}.
"""

import json

import numpy as np
{imports}
N_QUBITS = {n_qubits}
WIRES = {wires}  # all of them, that of the most significant bit first
ANGLES = np.array(  # radians, shape (circuits, layers, rotations, n_qubits)
{angles}
)
X = {x}  # the encoded row, or None: the wires start in |0>


def state(x):
    """Give the amplitudes in which a circuit starts: x / ||x||, then zeros."""
    x = np.asarray(x) / np.abs(x).max()  # so that no square is too large or too small
    amplitudes = np.zeros(2**N_QUBITS)
    amplitudes[: len(x)] = x / np.linalg.norm(x)
    return {state}

'''

_PENNYLANE = '''
@qml.qnode(qml.device("default.qubit", wires=len(WIRES)))
def circuit(x=X, angles=ANGLES[0]):
    """Run one circuit."""
    if x is not None:
        qml.StatePrep(state(x), wires=WIRES)
{body}
    return {values}


if __name__ == "__main__":
    for angles in ANGLES:
        print(json.dumps(np.array(circuit(angles=angles)).tolist()))
'''
_PENNYLANE_REFLECTION = """
    # reflection about the input
    prepare = qml.MottonenStatePreparation(state(x), wires=WIRES)
    qml.adjoint(prepare)
    qml.FlipSign([0] * N_QUBITS, wires=WIRES)
    qml.MottonenStatePreparation(state(x), wires=WIRES)"""

_QISKIT = '''
# Qiskit writes wire 0 last, in labels and in bit strings.
OBSERVABLES = {observables}
BASES = {bases}  # of each measurement, wire 0 first


def circuit(x=X, angles=ANGLES[0]):
    """Build one circuit without its measurement; wire w is qubit w."""
    built = QuantumCircuit(len(WIRES))
    if x is not None:
        # StatePreparation takes the qubit of the least significant bit first.
        built.append(StatePreparation(state(x)), WIRES[::-1])
{body}
    return built


def measured(built, basis):
    """Add the measurement of all wires in a basis."""
    built = built.copy()
    for wire, letter in enumerate(basis):
        if letter == "Y":
            built.sdg(wire)
        if letter in "XY":
            built.h(wire)
    built.measure_all()
    return built


if __name__ == "__main__":
    for angles in ANGLES:
        end = Statevector(circuit(angles=angles))
        print(json.dumps({values}))
'''
_QISKIT_REFLECTION = """
    # reflection about the input
    prepare = StatePreparation(state(x))
    built.append(prepare.inverse(), WIRES[::-1])
    built.x(WIRES)
    built.h(N_QUBITS - 1)
    built.mcx(list(range(N_QUBITS - 1)), N_QUBITS - 1)
    built.h(N_QUBITS - 1)
    built.x(WIRES)
    built.append(prepare, WIRES[::-1])"""


def script(
    circuit: Circuit, angles: Tensor, x: Tensor | None = None, *, to: str, title: str = "A circuit."
) -> str:
    """Write a Python script that builds circuits in another tool.

    Args:
        circuit: the circuit.
        angles: radians, shape (circuits, depth, rotations, n_qubits); the script runs each.
        x: the row whose state is prepared, shape (features,); without it the wires start in |0>, and the
            script's function takes one.
        to: "pennylane" or "qiskit".
        title: the first line of the script's docstring.

    Returns:
        The script; it runs with numpy and the named package alone.

    Raises:
        ConfigError: see `plan_of`; or `to` is unknown.

    Example:
        >>> import torch
        >>> text = script(Circuit(2), torch.tensor([[[[0.5, -1.0]]]]), to="pennylane")
        >>> [line.strip() for line in text.splitlines() if "RY" in line]
        ['qml.RY(angles[0, 0, 0], wires=0)', 'qml.RY(angles[0, 0, 1], wires=1)']
    """
    check_choice("to", to, SCRIPTS)
    circuit.check_angles(angles)
    for one in angles:
        plan_of(circuit, one, x)
    wires = device_wires(circuit)
    notes = "".join(
        [
            f"\nWire {circuit.n_qubits} is the ancilla: (|0>|x> + |1>|r>) / sqrt(2), r uniform."
            * ancillas(circuit),
            "\nThe adapter multiplies the values by ||x||." * (circuit.norm == "restore"),
        ]
    )
    header = _HEADER.format(
        title=title.replace("\\", "/").replace('"', "'"),
        notes=notes,
        start="" if x is not None else ", with the wires starting in |0>; give circuit(x=...) a row instead",
        imports=_IMPORTS[to],
        n_qubits=circuit.n_qubits,
        wires=wires,
        angles=textwrap.indent(_wrapped(angles.detach().cpu().double().tolist()), "    "),
        x="None" if x is None else _wrapped(x.detach().cpu().double().tolist()),
        state="np.concatenate([amplitudes, np.full(2**N_QUBITS, 2 ** (-N_QUBITS / 2))]) / np.sqrt(2)"
        if ancillas(circuit)
        else "amplitudes",
    )
    return header + (_pennylane(circuit) if to == "pennylane" else _qiskit(circuit))


_IMPORTS = {
    "pennylane": "import pennylane as qml\n",
    "qiskit": "from qiskit import QuantumCircuit\nfrom qiskit.circuit.library import StatePreparation\n"
    "from qiskit.quantum_info import SparsePauliOp, Statevector\n",
}


def _wrapped(values: object) -> str:
    return "\n".join(textwrap.wrap(repr(values), 100, break_long_words=False, break_on_hyphens=False))


def _body(circuit: Circuit, reflection: str, to: str) -> str:
    lines = []
    for layer, gates in enumerate(layer_gates(circuit)):
        if layer and circuit.ansatz.reuploading:
            lines.append(reflection.removeprefix("\n"))
        lines.append(f"    # layer {layer + 1}")
        lines += [f"    {_statement(gate, layer, to)}" for gate in gates]
    return "\n".join(lines)


def _statement(gate: PlacedGate, layer: int, to: str) -> str:
    wires = ", ".join(map(str, gate.wires))
    if to == "pennylane":
        if gate.row is None:
            return f"qml.{gate.name}(wires=[{wires}])"
        return f"qml.{gate.name}(angles[{layer}, {gate.row}, {wires}], wires={wires})"
    angle = "" if gate.row is None else f"angles[{layer}, {gate.row}, {wires}], "
    return f"built.{STANDARD_NAMES[gate.name]}({angle}{wires})"


def _pennylane(circuit: Circuit) -> str:
    if circuit.readout == PROBABILITIES:
        values = "qml.probs(wires=WIRES)"
    else:
        words = [
            " @ ".join(f"qml.{letter}({wire})" for wire, letter in enumerate(label) if letter != "I")
            for label in labels(circuit)
        ]
        values = "[\n" + "".join(f"        qml.expval({word}),\n" for word in words) + "    ]"
    return _PENNYLANE.format(body=_body(circuit, _PENNYLANE_REFLECTION, "pennylane"), values=values)


def _qiskit(circuit: Circuit) -> str:
    bases = []
    for basis in bases_of(circuit):
        letters = dict(zip(device_wires(circuit), basis.letters, strict=True))
        bases.append("".join(letters[wire] for wire in sorted(letters)))
    values = "[float(end.expectation_value(SparsePauliOp(label)).real) for label in OBSERVABLES]"
    if circuit.readout == PROBABILITIES:
        values = "end.reverse_qargs().probabilities().tolist()"
    return _QISKIT.format(
        observables=_wrapped([label[::-1] for label in labels(circuit)]),
        bases=_wrapped(bases),
        body=_body(circuit, _QISKIT_REFLECTION, "qiskit"),
        values=values,
    )
