"""PennyLane's default.mixed as the reference of noisy circuits."""

from typing import Any

import pennylane as qml
import torch
from tests.quantum.conftest import ANCILLA, pairs_of, readout_of
from torch import Tensor

from amplitune.quantum import Circuit
from amplitune.quantum.noise import NoiseModel

GATES = {"none": [], "RY": [qml.RY], "RYRZ": [qml.RY, qml.RZ], "Rot": [qml.RZ, qml.RY, qml.RZ]}

#: A noise model for each channel alone, and one for all of them.
NOISES = {
    "depolarizing": NoiseModel(depolarizing=0.07),
    "bit_flip": NoiseModel(bit_flip=0.11),
    "phase_flip": NoiseModel(phase_flip=0.13),
    "amplitude_damping": NoiseModel(amplitude_damping=0.17),
    "all": NoiseModel(0.02, 0.03, 0.05, 0.07),
}


def _errors(noise: NoiseModel, wire: int) -> None:
    if noise.depolarizing:
        qml.DepolarizingChannel(noise.depolarizing, wires=wire)
    if noise.bit_flip:
        qml.BitFlip(noise.bit_flip, wires=wire)
    if noise.phase_flip:
        qml.PhaseFlip(noise.phase_flip, wires=wire)
    if noise.amplitude_damping:
        qml.AmplitudeDamping(noise.amplitude_damping, wires=wire)


def run_mixed(
    x: Tensor, angles: Tensor, circuits: list[Circuit], noise: NoiseModel, basis: str = ""
) -> list[Tensor]:
    """Run circuits that differ in their readout only, on x (rows, features).

    Given the letter of a basis for each wire, the wires are turned into it and their bits are misread before
    the readout, which must then be a diagonal one. Returns values (rows, circuits * m) of each readout.
    """
    circuit = circuits[0]
    n, ansatz = circuit.n_qubits, circuit.ansatz
    gate = {"CNOT": qml.CNOT, "CZ": qml.CZ}[ansatz.entangling_gate]
    interferometric = circuit.readout == "interferometric"
    wires = [*([ANCILLA] if interferometric else []), *range(n)]
    encoded = torch.nn.functional.pad(x, (0, 2**n - x.shape[-1]))
    encoded = encoded / encoded.norm(dim=-1, keepdim=True)

    @qml.qnode(qml.device("default.mixed", wires=wires), interface="torch", diff_method=None)
    def run(one: Tensor) -> list[Any]:
        if interferometric:
            reference = torch.full_like(encoded, 2 ** (-n / 2))
            qml.StatePrep(torch.cat((encoded, reference), dim=-1) / 2**0.5, wires=wires)
        else:
            qml.StatePrep(encoded, wires=wires)
        for layer in range(ansatz.depth):
            if layer and ansatz.reuploading:
                outer = encoded[:, :, None] * encoded[:, None, :]
                reflection = torch.eye(2**n, dtype=x.dtype) - 2 * outer
                qml.QubitUnitary(reflection.to(torch.complex128), wires=range(n), unitary_check=False)
            rows = iter(one[layer])
            for turn in GATES[ansatz.rotation]:
                for wire, angle in enumerate(next(rows)):
                    turn(angle, wires=wire)
                    _errors(noise, wire)
            for pair in pairs_of(circuit):
                gate(wires=list(pair))
                for wire in pair:
                    _errors(noise, wire)
            for turn in GATES[ansatz.rotation_after]:
                for wire, angle in enumerate(next(rows)):
                    turn(angle, wires=wire)
                    _errors(noise, wire)
        for wire, letter in enumerate(basis):
            if letter == "Y":
                qml.adjoint(qml.S(wire))
            if letter != "Z":
                qml.Hadamard(wire)
            qml.BitFlip(noise.readout_error, wires=wire)
        return [readout_of(circuit) for circuit in circuits]

    found: list[list[Tensor]] = [[] for _ in circuits]
    for one in angles:
        for place, measured in enumerate(run(one)):
            whole = circuits[place].readout == "probabilities"
            block = measured[0] if whole else torch.stack(list(measured), dim=-1)
            found[place].append(block.reshape(x.shape[0], -1))
    return [torch.cat(blocks, dim=-1) for blocks in found]
