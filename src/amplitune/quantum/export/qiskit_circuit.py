"""A circuit as a Qiskit QuantumCircuit."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from amplitune.errors import MissingExtraError
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import basis_change, labels
from amplitune.quantum.export.plan import STANDARD_NAMES, Plan, chosen_basis, plan_of
from amplitune.quantum.gate_list import PlacedGate, flip_zero

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Instruction


def to_qiskit(
    circuit: Circuit,
    angles: Tensor,
    x: Tensor | None = None,
    *,
    basis: int | None = None,
    measured: bool = True,
) -> "QuantumCircuit":
    """Build a circuit in Qiskit.

    Wire w is Qiskit's qubit w, so gates read the same in both. Qiskit's qubit 0 is the least significant bit
    of an amplitude's index and the last character of a bit string, amplitune's wire 0 the most significant
    one: compare states with Statevector.reverse_qargs(), and counts with `values_from_counts`. Preparation is
    Qiskit's StatePreparation. An interferometric readout has its ancilla on the last qubit. Norms are not in
    the circuit: a readout that restores them is multiplied by ||x||_2 afterwards.

    Args:
        circuit: the circuit.
        angles: of one circuit, radians, shape ([1,] depth, rotations, n_qubits).
        x: the row whose state is prepared, shape (features,); None leaves the preparation out.
        basis: index of the measurement basis in `bases_of(circuit)`; may be left out if there is one.
        measured: whether the change of basis and the measurement are part of the circuit; without them it
            suits an estimator, with the observables of `qiskit_labels`.

    Returns:
        The QuantumCircuit, with the classical register c if it is measured.

    Raises:
        ConfigError: see `plan_of` and `chosen_basis`.
        MissingExtraError: Qiskit is not installed.

    Example:
        >>> import torch
        >>> built = to_qiskit(Circuit(2), torch.tensor([[[0.5, -1.0]]]), torch.tensor([3.0, 0.0, 4.0]))
        >>> sorted(built.count_ops().items())
        [('cx', 2), ('measure', 2), ('ry', 2), ('state_preparation', 1)]
    """
    chosen = chosen_basis(circuit, basis) if measured else None
    plan = plan_of(circuit, angles, x)
    try:
        from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
    except ImportError as error:
        raise MissingExtraError(
            "The export to Qiskit needs the package qiskit, which is not installed.\n"
            "Install it: pip install 'amplitune[quantum]'"
        ) from error

    built = QuantumCircuit(QuantumRegister(len(plan.wires), "q"))
    prepare = _preparation(plan)
    # StatePreparation takes the qubit of the least significant bit first.
    qubits = plan.wires[::-1]
    if prepare is not None:
        built.append(prepare, qubits)
    for layer, gates in enumerate(plan.layers):
        if layer and circuit.ansatz.reuploading and prepare is not None:
            built.append(prepare.inverse(), qubits)
            place(built, flip_zero(len(plan.wires)))
            built.append(prepare, qubits)
        place(built, gates)
    if chosen is not None:
        built.add_register(ClassicalRegister(len(plan.wires), "c"))
        place(built, basis_change(chosen, circuit))
        built.measure(sorted(plan.wires), sorted(plan.wires))
    return built


def qiskit_labels(circuit: Circuit) -> list[str]:
    """Write the observables as Qiskit's Pauli labels, for SparsePauliOp.

    Args:
        circuit: the circuit.

    Returns:
        One label per value, the letter of wire 0 last, the ancilla's first; none for basis probabilities.

    Example:
        >>> qiskit_labels(Circuit(3, readout=("X0", "Y1 Z2")))
        ['IIX', 'ZYI']
    """
    return [label[::-1] for label in labels(circuit)]


def place(built: "QuantumCircuit", gates: Iterable[PlacedGate]) -> None:
    """Append gates to a Qiskit circuit.

    Args:
        built: the circuit, changed in place.
        gates: the gates, with their angles.
    """
    for gate in gates:
        if gate.name == "MCZ":
            *controls, last = gate.wires
            built.h(last)
            if controls:
                built.mcx(controls, last)
            else:
                built.x(last)
            built.h(last)
        else:
            angle = () if gate.angle is None else (gate.angle,)
            getattr(built, STANDARD_NAMES[gate.name])(*angle, *gate.wires)


def _preparation(plan: Plan) -> "Instruction | None":
    """The preparation of the whole register, its missing amplitudes zero."""
    if plan.amplitudes is None:
        return None
    from qiskit.circuit.library import StatePreparation

    missing = 2 ** len(plan.wires) - len(plan.amplitudes)
    return StatePreparation([*plan.amplitudes.tolist(), *[0.0] * missing])
