"""The rank of readouts' quadratic forms: published numbers, dense matrices, and readouts of random inputs."""

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import jacobian_rank
from amplitune.quantum.capacity.derivatives import readout_derivatives
from amplitune.quantum.capacity.draws import random_angles, seeded
from amplitune.quantum.capacity.jacobian_rank import word_times
from amplitune.quantum.pauli import PauliWord


def complex_circuit(depth: int) -> Circuit:
    return Circuit(4, Ansatz("RYRZ", "ring", depth, rotation_after="RY"))


def real_circuit(depth: int) -> Circuit:
    return Circuit(4, Ansatz("RY", "ring", depth, rotation_after="RY"))


#: Circuit, angles, rank: on both parts of the forms.
KNOWN = [
    (complex_circuit(1), 12, 12),
    (complex_circuit(2), 24, 20),
    (complex_circuit(3), 36, 28),
    (real_circuit(1), 8, 8),
    # Rotations after a layer and before the next one add up: n angles of each further layer are redundant.
    (real_circuit(2), 16, 12),
    (real_circuit(3), 24, 16),
    (Circuit(4, Ansatz("RYRZ", "ring")), 8, 4),
    (Circuit(1, Ansatz("RY", "none")), 1, 1),
    (Circuit(1, Ansatz("Rot", "none")), 3, 2),
]


@pytest.mark.parametrize("part", ["real", "hermitian"])
@pytest.mark.parametrize(("circuit", "angles", "rank"), KNOWN)
def test_known_ranks(circuit: Circuit, angles: int, rank: int, part: str) -> None:
    found = jacobian_rank(circuit, part=part)
    assert (found.angles, found.rank, found.redundant) == (angles, rank, angles - rank)
    assert found.agreeing == found.draws == 3
    assert (found.largest_dropped is None) == (rank == angles)
    assert found.gap > 1e8
    assert found.smallest_kept > 1e-4


@pytest.mark.parametrize(
    "circuit",
    [
        Circuit(3, Ansatz("RYRZ", "ring", depth=2, rotation_after="RY")),
        Circuit(2, Ansatz("Rot", "linear", depth=3), readout="XYZ"),
        Circuit(3, Ansatz("RY", "ring", depth=3), readout="Z+ZZ"),
        Circuit(2, Ansatz("RYRZ", "ring", depth=2, entangling_gate="CZ"), readout="probabilities"),
        Circuit(3, Ansatz("RYRZ", "ring", depth=2), readout="interferometric"),
        Circuit(3, Ansatz("Rot", "ring", depth=2), readout=("X0 Y1", "Z2", "Y0 Y2")),
        Circuit(2, Ansatz("RY", "none"), readout=("Y0", "X1")),
    ],
)
def test_the_real_rank_is_that_of_readouts_of_real_inputs(circuit: Circuit) -> None:
    generator = seeded(0)
    # More random rows than a symmetric matrix has entries.
    x = torch.randn(4**circuit.n_qubits, 2**circuit.n_qubits, generator=generator, dtype=torch.float64)
    angles = random_angles(circuit, 1, generator)
    jacobian = torch.cat([readout_derivatives(row, angles, circuit)[0] for row in x])
    found = jacobian_rank(circuit, draws=2)
    assert found.rank == torch.linalg.matrix_rank(jacobian, rtol=1e-9)


def test_what_real_inputs_cannot_see_has_no_real_rank() -> None:
    circuit = Circuit(2, Ansatz("RY", "linear"), readout=("Y0",))
    assert jacobian_rank(circuit).rank == 0
    assert jacobian_rank(circuit, part="hermitian").rank > 0


def test_no_angle_moves_a_readout_that_only_phases_precede() -> None:
    circuit = Circuit(1, Ansatz("RY", "none"), readout=("Y0",))
    found = jacobian_rank(circuit, part="hermitian")
    assert (found.rank, found.redundant, found.smallest_kept) == (0, 1, 0.0)


@pytest.mark.parametrize("word", ["X0", "Y1", "Z0 Y1", "Y0 Y1", "X0 Z1"])
def test_words_act_as_their_matrices(word: str) -> None:
    paulis = {
        "I": torch.eye(2, dtype=torch.complex128),
        "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
        "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
        "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
    }
    letters = {int(factor[1]): factor[0] for factor in word.split()}
    expected = torch.kron(paulis[letters.get(0, "I")], paulis[letters.get(1, "I")])
    found = word_times(torch.eye(4, dtype=torch.float64)[None], PauliWord.parse(word, 2))[0]
    torch.testing.assert_close(found.to(torch.complex128), expected, rtol=0, atol=0)


def test_what_has_no_quadratic_forms_is_refused() -> None:
    with pytest.raises(ConfigError, match="`n_qubits` must be at most 8 for the rank of the Jacobian"):
        jacobian_rank(Circuit(9))
    with pytest.raises(ConfigError, match="`reuploading` must be false"):
        jacobian_rank(Circuit(2, Ansatz(depth=2, reuploading=True)))
    with pytest.raises(ConfigError, match="Did you mean 'hermitian'"):
        jacobian_rank(Circuit(2), part="hermitean")
