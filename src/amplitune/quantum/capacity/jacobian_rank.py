"""The rank of a readout's quadratic forms by the angles: how many angles a circuit really has."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.errors import ConfigError, check_choice, check_integer
from amplitune.quantum.capacity.derivatives import shifted
from amplitune.quantum.capacity.draws import Seed, random_angles, seeded
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.interferometric import functionals
from amplitune.quantum.measurement import coefficients, flip
from amplitune.quantum.pauli import PauliWord
from amplitune.quantum.readout import INTERFEROMETRIC, PROBABILITIES
from amplitune.quantum.statevector import statevector

#: The whole matrices are made: 4**n entries for each observable and angle.
MAX_QUBITS = 8

#: Unitaries are made for so many of their entries at a time.
ENTRIES = 2**23

#: A singular value below this share of the largest counts as zero; rounding leaves some 1e-15.
TOLERANCE = 1e-9

#: The parts of a form: what real inputs can tell apart, or the whole Hermitian matrix.
PARTS = ("real", "hermitian")


@dataclass(frozen=True)
class JacobianRank:
    """How many directions in the angles change a circuit's readouts.

    The rank is that of generic angles, so it has no standard error: `agreeing` of `draws` random sets
    of angles have it, and `gap` says how clearly the singular values fall into two groups.

    Args:
        rank: the largest rank found.
        angles: number of angles.
        redundant: angles minus rank.
        smallest_kept: smallest singular value counted, as a share of the largest; the least over draws.
        largest_dropped: largest one not counted, likewise, the most over draws; None if there is none.
        draws: sets of angles tried.
        agreeing: sets of angles that have this rank.
        part: "real" or "hermitian".
    """

    rank: int
    angles: int
    redundant: int
    smallest_kept: float
    largest_dropped: float | None
    draws: int
    agreeing: int
    part: str

    @property
    def gap(self) -> float:
        """The smallest kept over the largest dropped singular value; infinite if none is dropped."""
        return math.inf if not self.largest_dropped else self.smallest_kept / self.largest_dropped


def jacobian_rank(circuit: Circuit, *, part: str = "real", draws: int = 3, seed: Seed = 0) -> JacobianRank:
    """Count the directions in which angles move the readouts' quadratic forms.

        O_k(theta) = U(theta)^+ P_k U(theta),   rank of  theta -> (O_1, ..., O_m)  at random theta

    Inputs are real, so z_k = a^T Re(O_k) a: the real part, which is symmetric, is all that any input can
    tell; this is "real". "hermitian" takes the whole matrices, as for inputs with phases. The interferometric
    readout is linear in the input; its vectors f_k take the place of O_k.

    Args:
        circuit: at most 8 qubits, without re-uploading, whose readouts are no quadratic forms.
        part: "real" or "hermitian".
        draws: sets of random angles, at least 1.
        seed: a seed or a generator.

    Returns:
        The rank, and the singular values on both sides of the cut.

    Raises:
        ConfigError: too many qubits, re-uploading, or an unknown name.

    Source:
        The rank of the map from angles to what is measured, as for states in Haug, Bharti and Kim,
        arXiv 2102.01659 (parameter dimension), here for observables.

    Example:
        >>> from amplitune.quantum import Ansatz
        >>> jacobian_rank(Circuit(4, Ansatz("RYRZ", "ring", depth=2, rotation_after="RY"))).rank
        20
    """
    check_integer("draws", draws, 1)
    check_choice("part", part, PARTS)
    if circuit.n_qubits > MAX_QUBITS:
        raise ConfigError(
            f"`n_qubits` must be at most {MAX_QUBITS} for the rank of the Jacobian, which needs whole "
            f"matrices, but is {circuit.n_qubits}. Measure a smaller circuit of the same family."
        )
    if circuit.ansatz.reuploading:
        raise ConfigError(
            "`reuploading` must be false for the rank of the Jacobian, because a readout that encodes its "
            "input again is no quadratic form of it, but is true. Leave `reuploading` unset."
        )
    generator = seeded(seed)
    singular = torch.stack(
        [
            torch.linalg.svdvals(jacobian_factor(circuit, random_angles(circuit, 1, generator), part))
            for _ in range(draws)
        ]
    )
    # A readout that no angle moves has the rank 0.
    relative = singular / torch.where(singular[:, :1] > TOLERANCE, singular[:, :1], math.inf)
    kept = relative > TOLERANCE
    ranks = kept.sum(dim=1)
    dropped = relative[~kept]
    count = singular.shape[1]
    rank = int(ranks.max())
    return JacobianRank(
        rank=rank,
        angles=count,
        redundant=count - rank,
        smallest_kept=relative[kept].min().item() if kept.any() else 0.0,
        largest_dropped=dropped.max().item() if len(dropped) else None,
        draws=draws,
        agreeing=int((ranks == rank).sum()),
        part=part,
    )


def jacobian_factor(circuit: Circuit, angles: Tensor, part: str) -> Tensor:
    """Give the triangular factor of the Jacobian of all forms, which has its singular values.

        dO/dtheta_j = (O(theta + pi/2 e_j) - O(theta - pi/2 e_j)) / 2,   J = Q R

    Observable by observable, so that the tall matrix never exists.

    Args:
        circuit: the circuit.
        angles: one set, float64, shape (1, depth, rotations, n_qubits).
        part: "real" or "hermitian".

    Returns:
        R, float64, shape (angles, angles).
    """
    count = angles.numel()
    both = torch.cat([shifted(angles, sign * math.pi / 2) for sign in (1, -1)])
    factor = torch.zeros(count, count, dtype=torch.float64)
    if circuit.readout == INTERFEROMETRIC:
        vectors = functionals(both, circuit).reshape(2, count, -1)
        return _append(factor, (vectors[0] - vectors[1]) / 2)
    size = 2**circuit.n_qubits
    basis = torch.eye(size, dtype=torch.float64)
    # (shifts, input, output): row i of a unitary's transpose is U e_i.
    unitaries = torch.cat(
        [statevector(basis, some, circuit).transpose(0, 1) for some in both.split(max(1, ENTRIES // size**2))]
    )
    words: tuple[PauliWord | int, ...] = circuit.observables
    if circuit.readout == PROBABILITIES:
        words = tuple(range(size))
    for word in words:
        forms = torch.cat([_form(some, word, part) for some in unitaries.split(max(1, ENTRIES // size**2))])
        factor = _append(factor, (forms[:count] - forms[count:]) / 2)
    return factor


def _form(unitaries: Tensor, word: PauliWord | int, part: str) -> Tensor:
    """U^+ P U as vectors with the Frobenius norm, shape (shifts, numbers); a number is a projector."""
    if isinstance(word, int):
        column = unitaries[:, :, word]
        forms = column.conj()[:, :, None] * column[:, None, :]
    else:
        # An odd number of Y makes the form of real unitaries imaginary.
        seen = word_times(unitaries.transpose(1, 2), word)
        forms = unitaries.conj().to(seen.dtype) @ seen
    above, right = torch.triu_indices(forms.shape[1], forms.shape[2], offset=1)
    diagonal = forms.diagonal(dim1=1, dim2=2)
    triangle = math.sqrt(2) * forms[:, above, right]
    if not forms.is_complex():
        return torch.cat([diagonal, triangle], dim=1)
    parts = [diagonal.real, triangle.real] + ([triangle.imag] if part == "hermitian" else [])
    return torch.cat(parts, dim=1)


def word_times(states: Tensor, word: PauliWord) -> Tensor:
    """Apply a Pauli word to states.

        (P psi)_i = sign * i^|x & z| * (-1)^|(i XOR x) & z| * psi_(i XOR x)

    Args:
        states: amplitudes in the middle dimension, shape (batch, 2**n, columns).
        word: the word.

    Returns:
        Same shape; complex if the word has an odd number of Y.
    """
    n_qubits = states.shape[1].bit_length() - 1
    signed = flip(states, word.x) * coefficients((word,), n_qubits, with_identity=False).T
    # The coefficients of an odd number of Y are those of the imaginary part.
    return signed * -1j if (word.x & word.z).bit_count() % 2 else signed


def _append(factor: Tensor, rows: Tensor) -> Tensor:
    """The triangular factor of what `factor` stands for and the transposed `rows` below it."""
    return torch.linalg.qr(torch.cat([factor, rows.T]), mode="r").R
