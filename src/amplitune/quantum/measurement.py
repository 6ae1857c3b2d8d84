"""Pauli words on a batch of states: their values, and their weighted sum applied to the states."""

from functools import lru_cache

import torch
from torch import Tensor

from amplitune.quantum.constants import constant
from amplitune.quantum.pauli import PauliWord
from amplitune.quantum.program import Program, sources

#: Words with one x mask need the same products conj(psi_i) psi_(i XOR x); a real phase i^|x & z| takes their
#: real part, an imaginary one their imaginary part. A group is (x, whether imaginary, indices of its words).
Group = tuple[int, bool, tuple[int, ...]]


@lru_cache(maxsize=256)
def groups_of(words: tuple[PauliWord, ...]) -> tuple[Group, ...]:
    """Group words by what they need of a state.

    Args:
        words: Pauli words.

    Returns:
        The groups, the words that are diagonal first.
    """
    kinds = [(word.x, bool((word.x & word.z).bit_count() % 2)) for word in words]
    return tuple(
        (*kind, tuple(k for k, other in enumerate(kinds) if other == kind)) for kind in sorted(set(kinds))
    )


def coefficients(words: tuple[PauliWord, ...], n_qubits: int, with_identity: bool) -> Tensor:
    """Tabulate the signs with which a group's words weigh the products of amplitudes.

        <psi|P_k|psi> = sum_i c_ki Re(conj(psi_i) psi_(i XOR x))   or   sum_i c_ki Im(...)

    Args:
        words: words of one group.
        n_qubits: number of wires n.
        with_identity: append the identity's row, which gives the squared norm.

    Returns:
        +1 or -1, int64 on the CPU, shape (words, 2**n).
    """
    states = torch.arange(2**n_qubits, device="cpu")
    rows = []
    for word in words:
        parity = torch.zeros_like(states)
        for bit in range(n_qubits):
            parity ^= (((states ^ word.x) & word.z) >> bit) & 1
        # The phase i^q: 1, -1 as they are; Re(i c) = -Im(c) and Re(-i c) = Im(c).
        phase = (1, -1, -1, 1)[(word.x & word.z).bit_count() % 4]
        rows.append(word.sign * phase * (1 - 2 * parity))
    if with_identity:
        rows.append(torch.ones_like(states))
    return torch.stack(rows)


def _table(program: Program, group: Group, like: Tensor, with_identity: bool = False) -> Tensor:
    words = tuple(program.words[k] for k in group[2])
    dtype = like.real.dtype if like.is_complex() else like.dtype
    return constant(
        coefficients, words, program.n_qubits, with_identity, device=like.device, dtype=dtype
    ).expand(like.shape[0], -1, -1)


def flip(state: Tensor, x: int) -> Tensor:
    """Bring amplitude i XOR x to each place i.

    Args:
        state: shape (circuits, 2**n, tokens).
        x: mask.

    Returns:
        Same shape.
    """
    if x == 0:
        return state
    return state.index_select(1, torch.arange(state.shape[1], device=state.device) ^ x)


def squared_magnitude(state: Tensor) -> Tensor:
    """Square the magnitudes of amplitudes.

    Args:
        state: real or complex, any shape.

    Returns:
        |psi_i|^2, real, same shape.
    """
    return state.real.square() + state.imag.square() if state.is_complex() else state.square()


def measure(state: Tensor, program: Program) -> tuple[Tensor, Tensor]:
    """Sum up a readout on states that are not normalised.

    Args:
        state: amplitudes after the last block of rotations, shape (circuits, 2**n, tokens).
        program: the program.

    Returns:
        <psi|P_k|psi>, real, shape (circuits, m, tokens), and <psi|psi>, shape (circuits, 1, tokens).
    """
    squares = squared_magnitude(state)
    if program.probabilities:
        values = squares.index_select(1, _source(program, state.device)) if program.folded else squares
        return values, squares.sum(dim=1, keepdim=True)
    parts: list[Tensor] = []
    squared = None
    for group in groups_of(program.words):
        x, imaginary, _ = group
        if x == 0:
            sums = torch.bmm(_table(program, group, state, with_identity=True), squares)
            part, squared = sums[:, :-1], sums[:, -1:]
        elif imaginary and not state.is_complex():
            part = squares.new_zeros(state.shape[0], len(group[2]), state.shape[2])
        else:
            part = torch.bmm(_table(program, group, state), _products(state, flip(state, x), imaginary))
        parts.append(part)
    values = (
        parts[0]
        if len(parts) == 1
        else torch.cat(parts, dim=1).index_select(1, _order(program, state.device))
    )
    return values, squares.sum(dim=1, keepdim=True) if squared is None else squared


def apply_weighted(state: Tensor, program: Program, weights: Tensor) -> Tensor:
    """Apply a weighted sum of a readout's observables to states.

        (sum_k g_k P_k) psi

    Args:
        state: as in `measure`.
        program: the program.
        weights: g, real, shape (circuits, m, tokens).

    Returns:
        Shape (circuits, 2**n, tokens).
    """
    if program.probabilities:
        inverse = torch.argsort(_source(program, state.device))
        return state * (weights.index_select(1, inverse) if program.folded else weights)
    total = None
    for group in groups_of(program.words):
        x, imaginary, members = group
        if imaginary and not state.is_complex():
            continue
        chosen = weights
        if len(members) < len(program.words):
            chosen = weights.index_select(1, torch.tensor(members, device=state.device))
        mixed = torch.bmm(_table(program, group, state).transpose(1, 2), chosen)
        term = mixed * flip(state, x)
        term = term * -1j if imaginary else term
        total = term if total is None else total + term
    return torch.zeros_like(state) if total is None else total


def _products(state: Tensor, flipped: Tensor, imaginary: bool) -> Tensor:
    """Re or Im of conj(psi_i) psi_(i XOR x), in real arithmetic: one half of a complex product is wanted."""
    if not state.is_complex():
        return state * flipped
    if imaginary:
        return state.real * flipped.imag - state.imag * flipped.real
    return state.real * flipped.real + state.imag * flipped.imag


def _source(program: Program, device: torch.device) -> Tensor:
    return constant(
        sources, program.pairs, program.entangling_gate, program.n_qubits, device=device, dtype=torch.int64
    )


def _order(program: Program, device: torch.device) -> Tensor:
    """Where each word stands when the groups are laid one after another."""
    return constant(_positions, program.words, device=device, dtype=torch.int64)


def _positions(words: tuple[PauliWord, ...]) -> Tensor:
    laid = [k for *_, members in groups_of(words) for k in members]
    return torch.argsort(torch.tensor(laid, device="cpu"))
