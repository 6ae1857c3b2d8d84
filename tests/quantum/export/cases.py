"""Circuits of the whole family, with asymmetric inputs, for the tests of every exporter."""

from itertools import product

import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.ansatz import ENTANGLERS, ENTANGLING_GATES, ROTATIONS, Wires

ENTANGLED: tuple[str | Wires, ...] = (*ENTANGLERS, ((2, 0), (1, 2)))

#: Every rotation with every entangler, gate and rotation after it; reuploading in every other one.
FAMILY = [
    Circuit(3, Ansatz(rotation, entangler, 2, gate, after, reuploading=index % 2 == 0))
    for index, (rotation, entangler, gate, after) in enumerate(
        product(ROTATIONS, ENTANGLED, ENTANGLING_GATES, ("none", *ROTATIONS))
    )
]
SIZE = 3 * 5 * 2 * 4

#: Every readout, on a complex circuit of four wires.
READOUTS: list[str | tuple[str, ...]] = [
    "Z",
    "Z+ZZ",
    "XYZ",
    "probabilities",
    "interferometric",
    ("X0 Y3", "Z1", "Y0 Z2 X3", "X0"),
]


def readout_circuit(readout: str | tuple[str, ...]) -> Circuit:
    return Circuit(4, Ansatz("RYRZ", "linear", 2, rotation_after="RY"), readout)


def drawn(circuit: Circuit, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """One row with a slope, so that a wrong order of wires or a sign shows, and angles of one circuit."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(features, generator=generator, dtype=torch.float64) + torch.linspace(0, 2, features)
    angles = torch.randn(circuit.angle_shape(), generator=generator, dtype=torch.float64)
    return x, angles


def one_wire_flipped(wire: int, n_qubits: int) -> Tensor:
    """The row whose state is 1 on one wire and 0 on the others."""
    x = torch.zeros(2**n_qubits, dtype=torch.float64)
    x[1 << (n_qubits - 1 - wire)] = 3.0
    return x
