"""Other simulators running the paper's circuit as their users would write it."""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amplitune.quantum import Circuit

#: Maps x (tokens, features) and angles (n_qubits,) to the expectation of Z on each wire, (tokens, n_qubits).
Run = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rival:
    """A simulator to compare with.

    Args:
        name: what it is called in the table.
        module: the Python module it comes in.
        install: the command that adds it.
        batches: numbers of tokens to measure it at.
        gives_dx: whether it can differentiate by the encoded input.
        on_cuda: whether it runs on a CUDA device here.
        make: makes the run from the number of qubits and whether numbers are double.
        note: what a reader has to know about the comparison.
    """

    name: str
    module: str
    install: str
    batches: tuple[int, ...]
    gives_dx: bool
    on_cuda: bool
    make: Callable[[int, bool], Run]
    note: str

    @property
    def installed(self) -> bool:
        """Whether the module can be imported."""
        return importlib.util.find_spec(self.module) is not None


def _pennylane(n_qubits: int, device: str, diff_method: str, **options: Any) -> Any:
    import pennylane as qml

    wires = range(n_qubits)

    @qml.qnode(qml.device(device, wires=n_qubits, **options), interface="torch", diff_method=diff_method)
    def circuit(x: Tensor, angles: Tensor) -> Any:
        qml.AmplitudeEmbedding(x, wires=wires, pad_with=0.0, normalize=True)
        for wire in wires:
            qml.RY(angles[wire], wires=wire)
        for pair in Circuit(n_qubits).ansatz.pairs(n_qubits):
            qml.CNOT(wires=pair)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    return circuit


def default_qubit(n_qubits: int, double: bool) -> Run:
    """PennyLane's default.qubit, differentiated by torch through every gate; rows as one broadcast batch."""
    circuit = _pennylane(n_qubits, "default.qubit", "backprop")
    return lambda x, angles: torch.stack(circuit(x, angles), dim=-1)


def lightning_qubit(n_qubits: int, double: bool) -> Run:
    """PennyLane's lightning.qubit with the adjoint method, one circuit a row."""
    import numpy as np

    dtype = np.complex128 if double else np.complex64
    circuit = _pennylane(n_qubits, "lightning.qubit", "adjoint", c_dtype=dtype)
    return lambda x, angles: torch.stack([torch.stack(circuit(row, angles)) for row in x]).to(x.dtype)


def pyqtorch(n_qubits: int, double: bool) -> Run:
    """Pyqtorch, differentiated by torch through every gate; rows as one batch."""
    import pyqtorch as pyq

    dtype = torch.complex128 if double else torch.complex64
    gates = [pyq.RY(wire, f"angle{wire}") for wire in range(n_qubits)]
    gates += [pyq.CNOT(*pair) for pair in Circuit(n_qubits).ansatz.pairs(n_qubits)]
    with warnings.catch_warnings():
        # torch calls modules of complex dtype a new feature.
        warnings.simplefilter("ignore", UserWarning)
        circuit = pyq.QuantumCircuit(n_qubits, gates).to(dtype)
        observables = [pyq.Observable([pyq.Z(wire)]).to(dtype) for wire in range(n_qubits)]

    def run(x: Tensor, angles: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(x, (0, 2**n_qubits - x.shape[-1]))
        encoded = (padded / padded.norm(dim=-1, keepdim=True)).to(dtype)
        state = encoded.T.reshape([2] * n_qubits + [x.shape[0]])
        values = {f"angle{wire}": angles[wire] for wire in range(n_qubits)}
        state = circuit.run(state=state, values=values)
        return torch.stack([observable.expectation(state) for observable in observables], dim=-1)

    return run


RIVALS = (
    Rival(
        name="PennyLane default.qubit, backprop",
        module="pennylane",
        install="pip install pennylane",
        batches=(16, 256, 2048),
        gives_dx=True,
        on_cuda=True,
        make=default_qubit,
        note="one broadcast batch",
    ),
    Rival(
        name="PennyLane lightning.qubit, adjoint",
        module="pennylane_lightning",
        install="pip install pennylane-lightning",
        batches=(8,),
        gives_dx=False,
        on_cuda=False,
        make=lightning_qubit,
        note="one circuit a row; no gradient to x on either side, the adjoint method has none",
    ),
    Rival(
        name="pyqtorch, ad",
        module="pyqtorch",
        install="pip install pyqtorch",
        batches=(16, 256),
        gives_dx=True,
        on_cuda=False,
        make=pyqtorch,
        note="one batch",
    ),
)
