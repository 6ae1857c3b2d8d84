"""Expectation values under noise: misread bits, the norm, choice of method, moments, and what is refused."""

import pytest
import torch
from tests.quantum.mixed_states import run_mixed

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation, trajectories
from amplitune.quantum.bases import bases_of
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.noisy_expectation import _Moments, noisy_expectation
from amplitune.quantum.outcomes import runs_of


def drawn(circuit: Circuit) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2**circuit.n_qubits, generator=generator, dtype=torch.float64)
    return x, torch.randn(circuit.angle_shape(2), generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("depolarizing", [0.0, 0.05])
def test_misread_bits_agree_with_bit_flips_before_the_measurement(depolarizing: float) -> None:
    words = ("X0 Z1", "Y0 Y2", "Z0 Z1 Z2", "X1")
    # The same words where they are measured: in Z on the wires that were turned.
    turned = [("Z0 Z1",), ("Z0 Z2", "Z1"), ("Z0 Z1 Z2",)]
    ansatz, noise = Ansatz("RYRZ", "ring"), NoiseModel(depolarizing, readout_error=0.08)
    circuit = Circuit(3, ansatz, words)
    x, angles = drawn(circuit)
    found = noisy_expectation(x, angles, circuit, noise).values.unflatten(-1, (2, 4))
    visited = 0
    for basis, measured in zip(bases_of(circuit), turned, strict=True):
        diagonal = [Circuit(3, ansatz, measured)]
        (expected,) = run_mixed(x, angles, diagonal, noise, basis.letters)
        torch.testing.assert_close(
            found[..., list(basis.words)], expected.unflatten(-1, (2, -1)), rtol=0, atol=1e-10
        )
        visited += len(measured)
    assert visited == 4
    circuit = Circuit(3, ansatz, "probabilities")
    (expected,) = run_mixed(x, angles, [circuit], noise, "ZZZ")
    torch.testing.assert_close(
        noisy_expectation(x, angles, circuit, noise).values, expected, rtol=0, atol=1e-10
    )


def test_a_misread_word_shrinks_by_one_factor_for_each_of_its_wires() -> None:
    circuit = Circuit(9, Ansatz("RY", "ring"), ("Z0", "X1 Y2", "Z0 Z4 Z8"))
    x, angles = drawn(circuit)
    found = noisy_expectation(x, angles, circuit, NoiseModel(readout_error=0.1))
    factors = torch.tensor([0.8, 0.8**2, 0.8**3], dtype=torch.float64).repeat(2)
    torch.testing.assert_close(found.values, factors * expectation(x, angles, circuit), rtol=0, atol=1e-14)
    # No error acts on a gate: exact, on more qubits than density matrices are used for.
    assert not found.standard_error.any()
    ancilla = Circuit(3, readout="interferometric")
    x, angles = drawn(ancilla)
    found = noisy_expectation(x, angles, ancilla, NoiseModel(readout_error=0.1))
    expected = 0.64 * expectation(x, angles, ancilla)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("readout", ["Z", "interferometric"])
@pytest.mark.parametrize("runs", [None, 10])
def test_the_norm_is_restored_in_values_and_errors(readout: str, runs: int | None) -> None:
    dropped, restored = (Circuit(3, readout=readout, norm=norm) for norm in ("drop", "restore"))
    x, angles = drawn(dropped)
    one, other = (
        noisy_expectation(x, angles, circuit, NoiseModel(0.1), runs, torch.Generator().manual_seed(1))
        for circuit in (dropped, restored)
    )
    norm = x.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(other.values, one.values * norm)
    torch.testing.assert_close(other.standard_error, one.standard_error * norm)


def test_density_matrices_up_to_six_qubits_and_trajectories_above() -> None:
    noise = NoiseModel(0.1)
    assert runs_of(Circuit(6), noise, None) is None
    assert runs_of(Circuit(7), noise, None) == 100
    assert runs_of(Circuit(6), noise, 5) == 5
    assert runs_of(Circuit(7), NoiseModel(readout_error=0.1), 5) is None
    assert runs_of(Circuit(7), None, None) is None


def test_rows_of_zeros_nans_and_no_rows() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, float("nan"), 0.0], [1.0, 2.0, 3.0]])
    visited = 0
    for readout in ("XYZ", "probabilities", "interferometric"):
        for runs in (None, 4):
            circuit = Circuit(2, readout=readout)
            angles = torch.ones(circuit.angle_shape())
            found = noisy_expectation(x, angles, circuit, NoiseModel(0.1, 0.1, 0.1, 0.1, 0.1), runs)
            for part in found:
                assert not part[0].any()
                assert part[1].isnan().all()
                assert part[2].isfinite().all()
            empty = noisy_expectation(x[:0].reshape(2, 0, 3), angles, circuit, NoiseModel(0.1), runs)
            assert empty.values.shape == (2, 0, circuit.n_observables)
            visited += 1
    assert visited == 6


def test_moments_in_parts_are_those_of_the_whole() -> None:
    values = 5 + torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments = _Moments()
    for part in values.split((7, 12, 1), dim=1):
        moments.add(part)
    torch.testing.assert_close(moments.mean, values.mean(1))
    torch.testing.assert_close(moments.standard_error, values.std(1) / 20**0.5)


def test_trajectories_in_parts_have_the_same_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = Circuit(3, Ansatz("RY", "ring"), "Z+ZZ")
    x, angles = drawn(circuit)
    exact = noisy_expectation(x, angles, circuit, NoiseModel(0.1)).values
    monkeypatch.setattr(trajectories, "PASS", 5000)
    generator = torch.Generator().manual_seed(3)
    found = noisy_expectation(x, angles, circuit, NoiseModel(0.1), 1000, generator)
    assert ((found.values - exact).abs() < 4.5 * found.standard_error).all()


def test_gradients_under_noise_are_refused() -> None:
    circuit = Circuit(2)
    x, angles = drawn(circuit)
    for arguments in ((x.clone().requires_grad_(), angles), (x, angles.clone().requires_grad_())):
        with pytest.raises(ConfigError, match=r"`noise` must be used without gradients.*torch.no_grad"):
            noisy_expectation(*arguments, circuit, NoiseModel(0.1))
        with torch.no_grad():
            assert not noisy_expectation(*arguments, circuit, NoiseModel(0.1)).values.requires_grad


def test_noise_trajectories_and_generators_are_checked() -> None:
    circuit = Circuit(2)
    x, angles = drawn(circuit)
    with pytest.raises(ConfigError, match=r"`trajectories` must be an integer of at least 2, but is 1\."):
        noisy_expectation(x, angles, circuit, NoiseModel(0.1), trajectories=1)
    with pytest.raises(ConfigError, match=r"`noise` must be a NoiseModel, but is 0\.1"):
        noisy_expectation(x, angles, circuit, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`generator` must be a torch.Generator"):
        noisy_expectation(x, angles, circuit, NoiseModel(0.1), generator=1)  # type: ignore[arg-type]
