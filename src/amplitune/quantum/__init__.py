"""The circuit engine: amplitude encoding, ansatz, exact statevector and readout, on batches."""

from amplitune.quantum.ansatz import Ansatz
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import qubits_for
from amplitune.quantum.expectation import expectation
from amplitune.quantum.measured import measured
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.noisy_expectation import noisy_expectation
from amplitune.quantum.projection import project
from amplitune.quantum.sampling import sample
from amplitune.quantum.statevector import statevector

__all__ = [
    "Ansatz",
    "Circuit",
    "NoiseModel",
    "expectation",
    "measured",
    "noisy_expectation",
    "project",
    "qubits_for",
    "sample",
    "statevector",
]
