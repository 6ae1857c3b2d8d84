"""What a circuit takes on a quantum device: qubits, gates, state preparation, evaluations and shots."""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from amplitune.errors import ConfigError, MissingExtraError, check_choice, check_integer
from amplitune.quantum.bases import bases_of
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import device_wires
from amplitune.quantum.gate_list import depth_of, layer_gates
from amplitune.quantum.preparation_gates import PreparationCost, preparation_cost
from amplitune.quantum.readout import PROBABILITIES
from amplitune.quantum.transpiling import BASES, Transpiled, transpiled


@dataclass(frozen=True)
class Resources:
    """Counts for the circuits of some modules of a model; a device runs one circuit on one token at a time.

    Args:
        qubits: wires of the device, with the ancilla of an interferometric readout.
        angles: parameters of all circuits of all modules.
        gates: how many gates of each kind one circuit's ansatz has, without preparation and reflections.
        two_qubit_gates: how many of them act on two wires.
        depth: their steps when gates on different wires run at once.
        transpiled: the same in native gates; None if not asked for, or without Qiskit.
        transpiled_missing: why it is None though it was asked for.
        features: width of the encoded rows.
        preparation: gates that prepare one row.
        preparations: times that one run of a circuit prepares or unprepares it: 1, and 2 for each reflection.
        reflections: Z gates controlled by all other wires that one run has besides.
        measurement_bases: bases that the readout is measured in, one after the other.
        observables: values m of one circuit.
        circuits: circuits in parallel per module.
        modules: modules of the model with such circuits.
        tokens: tokens per training step.
        forward_evaluations: circuits to evaluate for the values of a step.
        angle_gradient_evaluations: circuits to evaluate besides for the gradient by the angles.
        input_gradient_evaluations: and for the gradient by the rows, which every adapter before the last
            layer's needs: two per rotation of the preparation.
        precision: wanted error of a value.
        confidence: probability with which all values of a circuit on a token are that precise.
        shots: measurements per evaluation for that.
        shots_per_step: shots of the forward and the angles' gradient evaluations of a step.
    """

    qubits: int
    angles: int
    gates: dict[str, int]
    two_qubit_gates: int
    depth: int
    transpiled: Transpiled | None
    transpiled_missing: str | None
    features: int
    preparation: PreparationCost
    preparations: int
    reflections: int
    measurement_bases: int
    observables: int
    circuits: int
    modules: int
    tokens: int
    forward_evaluations: int
    angle_gradient_evaluations: int
    input_gradient_evaluations: int
    precision: float
    confidence: float
    shots: int
    shots_per_step: int

    def to_dict(self) -> dict[str, Any]:
        """Give the counts as plain values, for JSON.

        Returns:
            The fields; those of the preparation and of the transpiled circuit as mappings.
        """
        return asdict(self)

    def text(self) -> str:
        """Write the counts for a reader.

        Returns:
            Lines without trailing newline, a label of fixed width and what was counted.
        """
        prepared = (
            f"{self.preparation.ry:,} RY, {self.preparation.cnot:,} CNOT, depth {self.preparation.depth:,}"
        )
        times = f"; {self.preparations} times per run" if self.preparations > 1 else ""
        several = f"{_several(self.modules, 'module')} with {_several(self.circuits, 'circuit')}"
        rows = [
            ("qubits", f"{self.qubits}"),
            ("angles", f"{self.angles:,} in {several}"),
            ("gates of the ansatz", f"{_counted(self.gates)}; depth {self.depth}"),
            ("native gates", self.transpiled_missing or "not asked for"),
            ("state preparation", f"{prepared}; for each row of {self.features:,} features{times}"),
            ("measurement bases", f"{self.measurement_bases}, for {self.observables:,} values"),
            (
                "evaluations per step",
                f"{self.forward_evaluations:,} forward, of {self.tokens:,} token{'s' * (self.tokens != 1)}",
            ),
            ("", f"{self.angle_gradient_evaluations:,} for the gradient by the angles (parameter shift)"),
            ("", f"{self.input_gradient_evaluations:,} for the gradient by the input, if wanted"),
            ("shots per evaluation", f"{self.shots:,} for an error of at most {self.precision:g}"),
            ("", f"in all values of a token, with probability {self.confidence:g} (Hoeffding)"),
            ("shots per step", f"{self.shots_per_step:.3g}, without the gradient by the input"),
        ]
        if self.reflections:
            rows.insert(5, ("reflections", f"{self.reflections} Z controlled by all other wires"))
        if self.transpiled is not None:
            native = self.transpiled
            rows[3] = (
                "native gates",
                f"{_counted(native.gates)}; depth {native.depth} ({native.basis}, all wires connected, "
                f"Qiskit {native.qiskit_version} at optimization level {native.optimization_level})",
            )
        return "\n".join(f"{label:<22}{value}" for label, value in rows)


def _several(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count > 1)}"


def _counted(gates: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in gates.items()) or "none"


def resources(
    circuit: Circuit,
    features: int | None = None,
    *,
    angles: Tensor | None = None,
    circuits: int = 1,
    modules: int = 1,
    tokens: int = 1,
    precision: float = 0.01,
    confidence: float = 0.99,
    basis: str | None = None,
) -> Resources:
    """Count what a circuit takes on a quantum device.

    A value's derivative by the angle of a rotation exp(-i t P / 2) is (z(t + pi/2) - z(t - pi/2)) / 2, so
    each angle costs two evaluations per token and measurement basis. Tokens share nothing, because each is a
    state of its own: that, and a preparation of about 2**(n+1) gates per evaluation, is what dominates.

        evaluations = tokens * modules * circuits * bases * (1 + 2 angles per circuit)
        shots = ceil(2 ln(2 m / (1 - confidence)) / precision^2),   a quarter for probabilities

    Args:
        circuit: the circuit.
        features: width of the encoded rows; 2**n if None.
        angles: of one circuit, for the transpiler; others are drawn with a fixed seed, none of them special.
        circuits: circuits in parallel per module.
        modules: modules of the model that have such circuits.
        tokens: tokens per training step.
        precision: wanted error of each value, between 0 and 1.
        confidence: probability with which all m values of a circuit on a token are that precise.
        basis: native gates to transpile to, a key of `transpiling.BASES`; not transpiled if None.

    Returns:
        The counts.

    Raises:
        ConfigError: an argument is out of range, or the angles are not those of one circuit.

    Source:
        Parameter shift: Mitarai et al., arXiv 1803.00745, and Schuld et al., arXiv 1811.11184. Shots:
        Hoeffding, J. Am. Stat. Assoc. 58, 13 (1963), theorem 2, with a union bound over the values.
        Preparation: Mottonen et al., arXiv quant-ph/0407010.

    Example:
        >>> counts = resources(Circuit(11), 2048, tokens=2048)
        >>> counts.gates, counts.depth, counts.preparation.cnot
        ({'RY': 11, 'CNOT': 11}, 12, 2046)
        >>> counts.angle_gradient_evaluations, counts.shots
        (45056, 153925)
    """
    for name, value in {"circuits": circuits, "modules": modules, "tokens": tokens}.items():
        check_integer(name, value, 1)
    for name, share in {"precision": precision, "confidence": confidence}.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise ConfigError(
                f"`{name}` must be a number between 0 and 1, but is {share!r}. The default is "
                f"{0.01 if name == 'precision' else 0.99}."
            )
    features = 2**circuit.n_qubits if features is None else features
    preparation = preparation_cost(features, circuit)
    if basis is not None:
        check_choice("basis", basis, BASES)
    if angles is None:
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(circuit.angle_shape(), generator=generator, dtype=torch.float64) * 2 + 0.5
    gates = [gate for layer in layer_gates(circuit, angles) for gate in layer]
    native, missing = None, None
    if basis is not None:
        try:
            native = transpiled(gates, circuit.n_qubits, basis)
        except MissingExtraError as error:
            missing = str(error).replace("\n", " ")

    own_angles = math.prod(circuit.angle_shape())
    reflections = (circuit.ansatz.depth - 1) * circuit.ansatz.reuploading
    preparations = 1 + 2 * reflections
    bases, m = len(bases_of(circuit)), circuit.n_observables
    forward = tokens * modules * circuits * bases
    gradient = 2 * own_angles * forward
    range_squared = 1 if circuit.readout == PROBABILITIES else 4
    shots = math.ceil(range_squared * math.log(2 * m / (1 - confidence)) / (2 * precision**2))
    return Resources(
        qubits=len(device_wires(circuit)),
        angles=own_angles * circuits * modules,
        gates=dict(Counter(gate.name for gate in gates)),
        two_qubit_gates=sum(len(gate.wires) == 2 for gate in gates),
        depth=depth_of(gates),
        transpiled=native,
        transpiled_missing=missing,
        features=features,
        preparation=preparation,
        preparations=preparations,
        reflections=reflections,
        measurement_bases=bases,
        observables=m,
        circuits=circuits,
        modules=modules,
        tokens=tokens,
        forward_evaluations=forward,
        angle_gradient_evaluations=gradient,
        input_gradient_evaluations=2 * preparation.ry * preparations * forward,
        precision=precision,
        confidence=confidence,
        shots=shots,
        shots_per_step=shots * (forward + gradient),
    )
