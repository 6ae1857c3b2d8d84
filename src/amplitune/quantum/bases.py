"""Measurement bases: which words of a readout are measured together, and in which basis of each wire."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.constants import constant
from amplitune.quantum.measurement import coefficients, squared_magnitude
from amplitune.quantum.pauli import PauliWord
from amplitune.quantum.preparation import ancillas
from amplitune.quantum.readout import PROBABILITIES


@dataclass(frozen=True)
class Basis:
    """One basis for each wire, in which one run of a circuit measures all wires.

    Args:
        letters: X, Y or Z for each wire, the ancilla first if there is one. Outcome 0 of a wire is the
            eigenvalue +1 of its letter, outcome 1 the eigenvalue -1.
        words: indices of the readout's words that are measured in this basis.
    """

    letters: str
    words: tuple[int, ...]


def measured_words(circuit: Circuit) -> tuple[PauliWord, ...]:
    """List the words that a circuit's readout measures on all wires, with the ancilla.

    Args:
        circuit: the circuit.

    Returns:
        The words; none for basis probabilities.

    Example:
        >>> [word.text(3) for word in measured_words(Circuit(2, readout="interferometric"))]
        ['X0 Z1', 'X0 Z2']
    """
    ancilla = ancillas(circuit) << circuit.n_qubits
    return tuple(PauliWord(word.x | ancilla, word.z, word.sign) for word in circuit.observables)


@lru_cache(maxsize=256)
def bases_of(circuit: Circuit) -> tuple[Basis, ...]:
    """Group a readout's words by bases: qubit-wise commuting words are measured together.

    Each word joins the first group that measures no wire of it in another basis. The groups may be more than
    necessary: finding the fewest is a colouring problem, hard in general. A wire that no word of a group
    names is measured in Z.

    Args:
        circuit: the circuit.

    Returns:
        The bases: one for "Z", "Z+ZZ", "probabilities" and "interferometric", three for "XYZ".

    Source:
        Verteletskyi, Yen and Izmaylov, arXiv 1907.03358 (qubit-wise commuting groups).

    Example:
        >>> bases_of(Circuit(2, readout=("X0", "Z0 Z1", "X0 Z1", "Z1")))
        (Basis(letters='XZ', words=(0, 2, 3)), Basis(letters='ZZ', words=(1,)))
    """
    wires = circuit.n_qubits + ancillas(circuit)
    if circuit.readout == PROBABILITIES:
        return (Basis("Z" * wires, ()),)
    groups: list[tuple[PauliWord, list[int]]] = []
    for k, word in enumerate(measured_words(circuit)):
        for place, (joint, members) in enumerate(groups):
            shared = (joint.x | joint.z) & (word.x | word.z)
            if not shared & ((joint.x ^ word.x) | (joint.z ^ word.z)):
                groups[place] = PauliWord(joint.x | word.x, joint.z | word.z), [*members, k]
                break
        else:
            groups.append((word, [k]))
    return tuple(Basis(joint.letters(wires).replace("I", "Z"), tuple(members)) for joint, members in groups)


#: The matrices that turn the eigenvector of a letter with the eigenvalue +1 into |0> and the other into |1>,
#: but for a factor 1 / sqrt(2): the Hadamard gate for X, and the same after S^+ = diag(1, -i) for Y.
TURNS: dict[str, tuple[tuple[complex, complex], tuple[complex, complex]]] = {
    "X": ((1, 1), (1, -1)),
    "Y": ((1, -1j), (1, 1j)),
}


def into_basis(state: Tensor, basis: Basis) -> Tensor:
    """Turn states so that measuring all wires in Z is measuring them in a basis.

    Args:
        state: amplitudes, shape (circuits, 2**wires, columns).
        basis: the basis.

    Returns:
        Amplitudes, same shape; complex if a wire is measured in Y.
    """
    for wire, letter in enumerate(basis.letters):
        if letter != "Z":
            circuits, size, columns = state.shape
            zero, one = state.reshape(circuits, 2**wire, 2, size >> (wire + 1), columns).unbind(dim=2)
            halves = [(zero * row[0] + one * row[1]) / 2**0.5 for row in TURNS[letter]]
            state = torch.stack(halves, dim=2).reshape(state.shape)
    return state


def outcome_probabilities(state: Tensor, circuit: Circuit) -> Tensor:
    """Give the probabilities of the outcomes of pure states in each basis of a readout.

    Args:
        state: amplitudes of norm 1, shape (circuits, 2**wires, columns).
        circuit: the circuit.

    Returns:
        Shape (bases, circuits, 2**wires, columns).
    """
    return torch.stack([squared_magnitude(into_basis(state, basis)) for basis in bases_of(circuit)])


def readout_values(distribution: Tensor, circuit: Circuit) -> Tensor:
    """Compute a readout from the distribution of the outcomes, or from their frequencies.

        z_k = sum_i p_i sign_k (-1)^(number of ones of i on the wires of word k)

    Args:
        distribution: p, shape (..., circuits, bases, 2**wires).
        circuit: the circuit.

    Returns:
        z, shape (..., circuits, m); the norm of the input is not restored.
    """
    if circuit.readout == PROBABILITIES:
        return distribution[..., 0, :]
    words, wires = measured_words(circuit), circuit.n_qubits + ancillas(circuit)
    values = distribution.new_empty(*distribution.shape[:-2], len(words))
    for place, basis in enumerate(bases_of(circuit)):
        diagonal = tuple(PauliWord(0, words[k].x | words[k].z, words[k].sign) for k in basis.words)
        table = constant(
            coefficients, diagonal, wires, False, device=distribution.device, dtype=distribution.dtype
        )
        values[..., list(basis.words)] = distribution[..., place, :] @ table.T
    return values
