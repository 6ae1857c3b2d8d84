"""Readouts: observables that are diagonal in the computational basis, as signs of the basis states."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.quantum.ansatz import destinations


@dataclass(frozen=True)
class Readout:
    """A list of observables, each diagonal in the computational basis.

        <O_k> = sum_i eigenvalue_ki |psi_i|^2

    Args:
        n_observables: maps the number of qubits to the number m of observables.
        eigenvalues: maps the number of qubits to eigenvalues, shape (m, 2**n), integer, on the CPU.
    """

    n_observables: Callable[[int], int]
    eigenvalues: Callable[[int], Tensor]


def pauli_z(n_qubits: int) -> Tensor:
    """Give the eigenvalues of Pauli Z on each wire: +1 where the wire's bit is 0, -1 where it is 1.

    Args:
        n_qubits: number of qubits n.

    Returns:
        Eigenvalues, int64, shape (n, 2**n); wire 0 is the most significant bit.

    Example:
        >>> pauli_z(2)
        tensor([[ 1,  1, -1, -1],
                [ 1, -1,  1, -1]])
    """
    states = torch.arange(2**n_qubits, device="cpu")
    shifts = torch.arange(n_qubits - 1, -1, -1, device="cpu")
    return 1 - 2 * ((states >> shifts[:, None]) & 1)


#: Readouts by name. "Z" is Pauli Z on each wire.
READOUTS: dict[str, Readout] = {"Z": Readout(n_observables=lambda n_qubits: n_qubits, eigenvalues=pauli_z)}


def signs(readout: str, entangler: str, n_qubits: int) -> Tensor:
    """Pull a readout back through the entangler before it, with the identity as one observable more.

        <E psi| O_k |E psi> = sum_i eigenvalue_k,destination(i) |psi_i|^2

    So the last entangler of a circuit never runs. The row of the identity gives the squared norm of a state
    that is not normalised.

    Args:
        readout: a name of READOUTS.
        entangler: a name of ENTANGLERS.
        n_qubits: number of qubits n.

    Returns:
        int64 on the CPU, shape (m + 1, 2**n); the last row is ones.

    Example:
        >>> signs("Z", "ring", 2)
        tensor([[ 1, -1,  1, -1],
                [ 1, -1, -1,  1],
                [ 1,  1,  1,  1]])
    """
    eigenvalues = READOUTS[readout].eigenvalues(n_qubits)[:, destinations(entangler, n_qubits)]
    return torch.cat((eigenvalues, torch.ones_like(eigenvalues[:1])))
