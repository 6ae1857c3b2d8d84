"""Circuits for other tools: OpenQASM 3, Qiskit, PennyLane, and scripts that build them."""

from amplitune.quantum.export.counts import values_from_counts
from amplitune.quantum.export.openqasm import to_openqasm3
from amplitune.quantum.export.pennylane_qnode import to_pennylane
from amplitune.quantum.export.qiskit_circuit import qiskit_labels, to_qiskit
from amplitune.quantum.export.scripts import script

__all__ = ["qiskit_labels", "script", "to_openqasm3", "to_pennylane", "to_qiskit", "values_from_counts"]
