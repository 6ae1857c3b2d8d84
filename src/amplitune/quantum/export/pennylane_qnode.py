"""A circuit as a PennyLane QNode."""

from typing import Any

import numpy as np
from torch import Tensor

from amplitune.errors import ConfigError, MissingExtraError
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import device_wires, labels
from amplitune.quantum.export.plan import NEEDS_X
from amplitune.quantum.gate_list import PlacedGate, layer_gates, one_circuit
from amplitune.quantum.preparation_gates import device_amplitudes
from amplitune.quantum.readout import INTERFEROMETRIC, PROBABILITIES


def to_pennylane(
    circuit: Circuit,
    angles: Tensor,
    x: Tensor | None = None,
    *,
    device: Any = "default.qubit",
    shots: int | None = None,
) -> Any:
    """Build a QNode that runs a circuit and returns its readout.

    Wires are numbered as in amplitune. Preparation is AmplitudeEmbedding(pad_with=0, normalize=True). An
    interferometric readout has its ancilla on the last wire. Norms are not in the circuit: a readout that
    restores them is multiplied by ||x||_2 afterwards. PennyLane itself splits words that cannot be measured
    together.

    Args:
        circuit: the circuit.
        angles: of one circuit, radians, shape ([1,] depth, rotations, n_qubits).
        x: the QNode's default input, shape (features,); None leaves the preparation out.
        device: a PennyLane device with enough wires, or the name of one that is then made.
        shots: measurements per value; None for exact values, where the device has them.

    Returns:
        qnode(x=x, angles=angles) -> a list of m expectation values, or an array of 2**n probabilities. `x`
        may be one row or, unless the circuit reflects about it, rows of shape (rows, features); `angles` has
        the shape (depth, rotations, n_qubits). Both may be tensors that PennyLane differentiates by.

    Raises:
        ConfigError: the angles or `x` do not fit the circuit; or the device has other wires.
        MissingExtraError: PennyLane is not installed.

    Example:
        >>> import torch
        >>> angles = torch.tensor([[[0.5, -1.0]]])
        >>> qnode = to_pennylane(Circuit(2), angles, torch.tensor([3.0, 0.0, 4.0]))
        >>> [round(float(value), 4) for value in qnode()]
        [0.5403, -0.3814]
    """
    default_angles = one_circuit(angles, circuit).numpy()
    default_x = None
    if x is not None:
        device_amplitudes(x, circuit)
        default_x = x.detach().cpu().double().numpy()
    try:
        import pennylane as qml
    except ImportError as error:
        raise MissingExtraError(
            "The export to PennyLane needs the package pennylane, which is not installed.\n"
            "Install it: pip install 'amplitune[quantum]'"
        ) from error
    wires = device_wires(circuit)
    made = qml.device(device, wires=len(wires)) if isinstance(device, str) else device
    if made.wires is not None and not set(wires) <= set(made.wires):
        raise ConfigError(
            f"`device` must have the wires 0 to {len(wires) - 1}, but has {list(made.wires)}. "
            f"Make it with wires={len(wires)}."
        )
    layers = layer_gates(circuit)
    observables = [qml.pauli.string_to_pauli_word(label) for label in labels(circuit)]

    def run(x: Any = default_x, angles: Any = default_angles) -> Any:
        if x is not None:
            x = np.asarray(x, dtype=float) if isinstance(x, list | tuple) else x
            qml.AmplitudeEmbedding(_start(x, circuit), wires=wires, pad_with=0.0, normalize=True)
        elif circuit.ansatz.reuploading:
            raise ConfigError(NEEDS_X)
        for layer, gates in enumerate(layers):
            if layer and circuit.ansatz.reuploading:
                _reflect(x, circuit)
            _place(gates, angles[layer])
        if circuit.readout == PROBABILITIES:
            return qml.probs(wires=wires)
        return [qml.expval(observable) for observable in observables]

    return qml.QNode(run, made, shots=shots)


def _place(layer: list[PlacedGate], angles: Any) -> None:
    """Queue the gates of a layer; angles (rotations, n_qubits)."""
    import pennylane as qml

    for gate in layer:
        operation = getattr(qml, gate.name)
        if gate.row is None:
            operation(wires=gate.wires)
        else:
            operation(angles[gate.row, gate.wires[0]], wires=gate.wires[0])


def _start(x: Any, circuit: Circuit) -> Any:
    """The row itself or, for an interferometric readout, |0>|x> + ||x|| |1>|r>."""
    if circuit.readout != INTERFEROMETRIC:
        return x
    from pennylane import math

    size = 2**circuit.n_qubits
    batch = tuple(math.shape(x))[:-1]
    norm = math.sqrt(math.sum(x * x, axis=-1))[..., None]
    missing = math.convert_like(np.zeros((*batch, size - math.shape(x)[-1])), x)
    reference = math.convert_like(np.full((*batch, size), size**-0.5), x) * norm
    return math.concatenate([x, missing, reference], axis=-1)


def _reflect(x: Any, circuit: Circuit) -> None:
    """Queue A (I - 2 |0><0|) A^+ with the preparation A of one row."""
    import pennylane as qml

    wires = range(circuit.n_qubits)
    features = qml.math.shape(x)
    if len(features) != 1:
        raise ConfigError(
            f"`x` must be one row of shape (features,) with reuploading, but has the shape "
            f"{tuple(features)}. Call the QNode once per row."
        )
    missing = qml.math.convert_like(np.zeros(2**circuit.n_qubits - features[0]), x)
    amplitudes = qml.math.concatenate([x, missing]) / qml.math.sqrt(qml.math.sum(x * x))
    qml.adjoint(qml.MottonenStatePreparation(amplitudes, wires=wires))
    qml.FlipSign([0] * circuit.n_qubits, wires=wires)
    qml.MottonenStatePreparation(amplitudes, wires=wires)
