"""Fisher information against closed forms and against autograd through probabilities."""

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.capacity import fisher, fisher_spectrum
from amplitune.quantum.capacity.draws import random_angles, seeded
from amplitune.quantum.capacity.fisher import fisher_matrices, spectrum_of


@pytest.mark.parametrize(
    "circuit",
    [
        Circuit(2, Ansatz("RY", "ring", depth=2)),
        Circuit(3, Ansatz("RYRZ", "ring", depth=2, rotation_after="RY")),
        Circuit(2, Ansatz("Rot", "linear", entangling_gate="CZ")),
        Circuit(2, Ansatz("RYRZ", "ring", depth=2, reuploading=True)),
    ],
)
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_matrices_are_those_of_the_measured_distribution(
    circuit: Circuit, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fisher, "PASS", 500)
    x = torch.randn(rows, 2**circuit.n_qubits, generator=seeded(1), dtype=torch.float64)
    angles = random_angles(circuit, 3, seeded(2))
    found = fisher_matrices(circuit, angles, x)
    count = angles[0].numel()
    assert found.shape == (3, min(rows, 16), count, count)
    measured = Circuit(circuit.n_qubits, circuit.ansatz, readout="probabilities")
    for draw, one in enumerate(angles.split(1)):
        p = expectation(x, one, measured)
        slopes = torch.autograd.functional.jacobian(lambda a: expectation(x, a, measured), one).flatten(2)
        expected = torch.einsum("xbi,xbj,xb->ij", slopes, slopes, 1 / p) / rows
        torch.testing.assert_close(found[draw].mean(dim=0), expected, rtol=1e-9, atol=1e-9)


def test_groups_hold_their_own_rows() -> None:
    circuit = Circuit(2, Ansatz("RYRZ", "ring"))
    x = torch.randn(20, 4, generator=seeded(3), dtype=torch.float64)
    angles = random_angles(circuit, 2, seeded(4))
    found = fisher_matrices(circuit, angles, x)
    alone = fisher_matrices(circuit, angles, x[3::16]).mean(dim=1)
    torch.testing.assert_close(found[:, 3], alone * (2 * 16 / 20), rtol=0, atol=1e-14)


def test_one_rotation_and_rotations_apart_have_unit_information() -> None:
    for n in (1, 3):
        circuit = Circuit(n, Ansatz("RY", "none"))
        matrices = fisher_matrices(circuit, random_angles(circuit, 4, seeded(0)))
        torch.testing.assert_close(
            matrices[:, 0], torch.eye(n).double().expand(4, -1, -1), rtol=0, atol=1e-14
        )


def test_every_angle_of_a_real_circuit_has_unit_information() -> None:
    circuit = Circuit(4, Ansatz("RY", "all-to-all", depth=3))
    x = torch.randn(5, 16, generator=seeded(5), dtype=torch.float64)
    matrices = fisher_matrices(circuit, random_angles(circuit, 4, seeded(6)), x).mean(dim=1)
    diagonal = matrices.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, torch.ones_like(diagonal), rtol=0, atol=1e-13)


def test_phases_before_the_measurement_carry_no_information() -> None:
    spectrum = fisher_spectrum(Circuit(3, Ansatz("RYRZ", "ring")), draws=10)
    assert spectrum.rank.value == 3
    assert spectrum.rank.standard_error == 0
    assert spectrum.trace.value == pytest.approx(3, abs=1e-12)
    values = [eigenvalue.value for eigenvalue in spectrum.eigenvalues]
    assert values == pytest.approx([1, 1, 1, 0, 0, 0], abs=1e-12)
    assert spectrum.first_share.value == pytest.approx(1 / 3)


def test_equal_layers_on_a_wire_are_one_direction() -> None:
    spectrum = fisher_spectrum(Circuit(1, Ansatz("RY", "none", depth=3)), draws=4)
    assert [eigenvalue.value for eigenvalue in spectrum.eigenvalues] == pytest.approx([3, 0, 0], abs=1e-12)
    assert spectrum.rank.value == 1
    assert spectrum.first_share.value == pytest.approx(1)


def test_the_stated_error_holds_over_new_inputs_and_angles() -> None:
    circuit = Circuit(2, Ansatz("RYRZ", "ring", depth=2))
    traces, stated = [], []
    for seed in range(60):
        x = torch.randn(16, 4, generator=seeded(seed), dtype=torch.float64)
        trace = fisher_spectrum(circuit, draws=16, inputs=x, seed=1000 + seed).trace
        traces.append(trace.value)
        stated.append(trace.standard_error)
    # Errors over angles and over rows are added, which counts what both share twice.
    assert 0.8 < torch.tensor(stated).mean() / torch.tensor(traces).std() < 1.8


def test_several_rows_widen_the_error() -> None:
    circuit = Circuit(2, Ansatz("RYRZ", "ring", depth=2))
    x = torch.randn(8, 4, generator=seeded(7), dtype=torch.float64)
    matrices = fisher_matrices(circuit, random_angles(circuit, 10, seeded(8)), x)
    grouped, whole = spectrum_of(matrices), spectrum_of(matrices.mean(dim=1, keepdim=True))
    assert grouped.trace.value == pytest.approx(whole.trace.value)
    assert grouped.trace.standard_error > whole.trace.standard_error
    assert grouped.rank.samples == 10


def test_too_many_qubits_are_refused() -> None:
    with pytest.raises(ConfigError, match="`n_qubits` must be at most 12 for Fisher information"):
        fisher_spectrum(Circuit(13), draws=2)
