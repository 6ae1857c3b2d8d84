"""What the gates of an ansatz become in the native gates of a device, by Qiskit's transpiler."""

from collections.abc import Iterable
from dataclasses import dataclass

from amplitune.errors import MissingExtraError, check_choice
from amplitune.quantum.export.qiskit_circuit import place
from amplitune.quantum.gate_list import PlacedGate

#: Native gates, as Qiskit calls them. IBM's: https://quantum.cloud.ibm.com/docs/guides/native-gates. Trapped
#: ions: rotations and the Molmer-Sorensen gate, arXiv quant-ph/9810040.
BASES: dict[str, tuple[str, ...]] = {
    "ibm-heron": ("rz", "sx", "x", "cz"),
    "ibm-eagle": ("rz", "sx", "x", "ecr"),
    "ion": ("rx", "ry", "rz", "rxx"),
    "cnot": ("rz", "sx", "x", "cx"),
}
#: Qiskit's level: joins rotations, cancels neighbours, and searches nothing at random. Part of the result.
OPTIMIZATION_LEVEL = 1


@dataclass(frozen=True)
class Transpiled:
    """Counts after transpiling, with all wires connected to all.

    Args:
        basis: the name of the native gates, a key of BASES.
        gates: how many there are of each.
        two_qubit_gates: how many act on two wires.
        depth: steps when gates on different wires run at once.
        optimization_level: Qiskit's.
        qiskit_version: the version that transpiled.
    """

    basis: str
    gates: dict[str, int]
    two_qubit_gates: int
    depth: int
    optimization_level: int
    qiskit_version: str


def transpiled(gates: Iterable[PlacedGate], wires: int, basis: str) -> Transpiled:
    """Transpile gates to the native gates of a device.

    Every wire may act on every other, as on trapped ions; on a chip whose qubits have few neighbours swaps
    come on top, and how many depends on the chip.

    Args:
        gates: with their angles.
        wires: number of wires.
        basis: a key of BASES.

    Returns:
        The counts, the same each time for one version of Qiskit.

    Raises:
        ConfigError: the basis is unknown.
        MissingExtraError: Qiskit is not installed.

    Example:
        >>> transpiled([PlacedGate("CNOT", (0, 1))], wires=2, basis="ibm-heron").gates["cz"]
        1
    """
    check_choice("basis", basis, BASES)
    try:
        import qiskit
    except ImportError as error:
        raise MissingExtraError(
            "Transpiling needs the package qiskit, which is not installed.\n"
            "Install it: pip install 'amplitune[quantum]'"
        ) from error
    built = qiskit.QuantumCircuit(wires)
    place(built, gates)
    native = qiskit.transpile(
        built,
        basis_gates=list(BASES[basis]),
        optimization_level=OPTIMIZATION_LEVEL,
        seed_transpiler=0,
    )
    return Transpiled(
        basis=basis,
        gates={name: int(count) for name, count in sorted(native.count_ops().items())},
        two_qubit_gates=native.num_nonlocal_gates(),
        depth=native.depth(),
        optimization_level=OPTIMIZATION_LEVEL,
        qiskit_version=qiskit.__version__,
    )
