"""Measurement bases: groups of words, turned states and readouts, against dense matrices."""

from itertools import product

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.bases import Basis, bases_of, into_basis, measured_words, readout_values

#: Columns are the eigenvectors with the eigenvalues +1 and -1.
EIGENVECTORS = {
    "X": torch.tensor([[1, 1], [1, -1]], dtype=torch.complex128) / 2**0.5,
    "Y": torch.tensor([[1, 1], [1j, -1j]], dtype=torch.complex128) / 2**0.5,
    "Z": torch.eye(2, dtype=torch.complex128),
}


def dense(letters: str) -> Tensor:
    """The unitary that turns the eigenvectors of the letters into basis states."""
    matrix = torch.ones(1, 1, dtype=torch.complex128)
    for letter in letters:
        matrix = torch.kron(matrix, EIGENVECTORS[letter].mH.resolve_conj())
    return matrix


def test_every_basis_of_three_wires_agrees_with_its_dense_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 8, 5, dtype=torch.complex128, generator=generator)
    visited = 0
    for letters, given in product(map("".join, product("XYZ", repeat=3)), (states, states.real)):
        turned = into_basis(given, Basis(letters, ()))
        assert turned.is_complex() == (given.is_complex() or "Y" in letters)
        expected = dense(letters) @ given.to(states.dtype)
        torch.testing.assert_close(turned.to(states.dtype), expected, rtol=0, atol=1e-14)
        visited += 1
    assert visited == 54


@pytest.mark.parametrize(
    ("readout", "letters", "words"),
    [
        ("Z", ["ZZZ"], [(0, 1, 2)]),
        ("Z+ZZ", ["ZZZ"], [(0, 1, 2, 3, 4, 5)]),
        ("XYZ", ["XXX", "YYY", "ZZZ"], [(0, 1, 2), (3, 4, 5), (6, 7, 8)]),
        ("probabilities", ["ZZZ"], [()]),
        ("interferometric", ["XZZZ"], [(0, 1, 2)]),
        (("X0 Y1", "Y1 Z2", "Z0", "X0 Z2", "Y0 Y1"), ["XYZ", "ZZZ", "YYZ"], [(0, 1, 3), (2,), (4,)]),
    ],
)
def test_words_that_commute_on_each_wire_share_a_basis(
    readout: str | tuple[str, ...], letters: list[str], words: list[tuple[int, ...]]
) -> None:
    circuit = Circuit(3, readout=readout)
    assert bases_of(circuit) == tuple(map(Basis, letters, words))
    measured = [k for basis in bases_of(circuit) for k in basis.words]
    assert sorted(measured) == list(range(len(measured_words(circuit))))


@pytest.mark.parametrize(
    "readout", ["Z", "Z+ZZ", "XYZ", "probabilities", ("X0 Y1", "Z2", "Y0 Z1 X2", "Z0 X1")]
)
def test_readouts_come_from_the_distributions_in_their_bases(readout: str | tuple[str, ...]) -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring", depth=2), readout)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)
    states = statevector(x, angles, circuit)
    turned = [(states @ dense(basis.letters).T).abs().square() for basis in bases_of(circuit)]
    values = readout_values(torch.stack(turned, dim=-2), circuit)
    assert values.shape == (4, 2, circuit.n_observables)
    torch.testing.assert_close(values.flatten(1), expectation(x, angles, circuit), rtol=0, atol=1e-14)
