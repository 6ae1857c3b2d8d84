"""Estimates from shots: mean and variance, gradients, seeds, noise, and what is refused."""

import pytest
import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.estimation import estimate
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.noisy_expectation import noisy_expectation
from amplitune.quantum.sampling import sample

READOUTS = ["Z", "Z+ZZ", "XYZ", "probabilities", ("X0 Y2", "Z1", "Y0 Y1"), "interferometric"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(circuit: Circuit, rows: int = 1, circuits: int = 1) -> tuple[Tensor, Tensor]:
    """Random x (rows, 2**n - 1) and angles in double precision."""
    generator = seeded(7)
    x = torch.randn(rows, 2**circuit.n_qubits - 1, generator=generator, dtype=torch.float64)
    return x, torch.randn(circuit.angle_shape(circuits), generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["drop", "restore"])
@pytest.mark.parametrize("readout", READOUTS)
def test_estimates_have_the_exact_mean_and_the_variance_of_shots(
    readout: str | tuple[str, ...], norm: str
) -> None:
    circuit, shots, repeats = Circuit(3, Ansatz("RYRZ", "ring", 2), readout, norm), 20, 4000
    x, angles = drawn(circuit, circuits=2)
    exact = expectation(x, angles, circuit)[0]
    found = estimate(x.expand(repeats, -1), angles, circuit, shots, seeded(0))
    length = x.norm() if norm == "restore" else torch.ones((), dtype=torch.float64)
    z = exact / length
    variance = (z * (1 - z) if readout == "probabilities" else 1 - z.square()) * length.square() / shots
    assert ((found.mean(0) - exact).abs() < 4.5 * (variance / repeats).sqrt()).all()
    # The relative spread of a variance from 4,000 values is near sqrt(2 / 4,000) = 2.2 %.
    torch.testing.assert_close(found.var(0), variance, rtol=0.15, atol=0)


def test_an_estimate_is_the_mean_parity_of_the_sampled_bit_strings() -> None:
    circuit = Circuit(3, Ansatz("Rot", "ring"), ("X0 Z2", "Y1", "Z0 Z1"))
    x, angles = drawn(circuit, rows=4, circuits=2)
    outcomes = sample(x, angles, circuit, 50, seeded(1)).unflatten(-1, (2, 50))
    bit = [outcomes >> shift & 1 for shift in (2, 1, 0)]
    parities = [(bit[0] ^ bit[2])[:, :, 0], bit[1][:, :, 0], (bit[0] ^ bit[1])[:, :, 1]]
    expected = torch.stack([1 - 2 * parity.double().mean(-1) for parity in parities], dim=-1).flatten(1)
    torch.testing.assert_close(estimate(x, angles, circuit, 50, seeded(1)), expected)


@pytest.mark.parametrize("readout", ["Z+ZZ", "XYZ", "probabilities", "interferometric"])
@pytest.mark.parametrize("rotation", ["RY", "Rot"])
def test_the_gradient_from_shots_has_the_exact_mean(rotation: str, readout: str) -> None:
    circuit, repeats = Circuit(2, Ansatz(rotation, "ring", 2), readout, "restore"), 400
    x, angles = drawn(circuit, rows=2)
    angles.requires_grad_()
    z = expectation(x, angles, circuit)
    weights = torch.randn(z.shape, generator=seeded(3), dtype=torch.float64)
    (exact,) = torch.autograd.grad(z, angles, weights)
    # Circuits with the same angles, each with shots of its own.
    copies = angles.detach().expand(repeats, -1, -1, -1).clone().requires_grad_()
    estimate(x, copies, circuit, 10, seeded(4)).backward(weights.repeat(1, repeats))
    assert copies.grad is not None
    error = copies.grad.std(0) / repeats**0.5
    assert ((copies.grad.mean(0) - exact[0]).abs() <= 4.5 * error).all()
    assert error.max() > 0


@pytest.mark.parametrize("readout", ["XYZ", "interferometric"])
@pytest.mark.parametrize("norm", ["drop", "restore"])
def test_the_gradient_of_the_input_is_exact(readout: str, norm: str) -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring"), readout, norm)
    x, angles = drawn(circuit, rows=3, circuits=2)
    x.requires_grad_()
    z = expectation(x, angles, circuit)
    weights = torch.randn(z.shape, generator=seeded(3), dtype=torch.float64)
    (exact,) = torch.autograd.grad(z, x, weights)
    (found,) = torch.autograd.grad(estimate(x, angles, circuit, 10), x, weights)
    assert torch.equal(found, exact)


def test_values_and_gradients_follow_the_seed_whatever_the_rest_of_the_graph_draws() -> None:
    circuit = Circuit(2, Ansatz("RY", "ring"))
    x, angles = drawn(circuit, rows=3)
    angles.requires_grad_()

    def run(seed: int, between: bool) -> tuple[Tensor, Tensor, Tensor]:
        generator = seeded(seed)
        z = estimate(x, angles, circuit, 30, generator)
        if between:
            estimate(x, angles, circuit, 30, generator)
        (first,) = torch.autograd.grad(z.sum(), angles, retain_graph=True)
        (again,) = torch.autograd.grad(z.sum(), angles)
        assert torch.equal(first, again)
        return z, first, torch.rand(1, generator=generator)

    z, gradient, after = run(1, between=False)
    same, same_gradient, later = run(1, between=True)
    other, other_gradient, _ = run(2, between=False)
    assert torch.equal(z, same)
    assert torch.equal(gradient, same_gradient)
    assert not torch.equal(z, other)
    assert not torch.equal(gradient, other_gradient)
    assert not torch.equal(after, later)
    with torch.no_grad():
        assert torch.equal(estimate(x, angles, circuit, 30, seeded(1)), z)


def test_a_gradient_of_a_gradient_is_refused() -> None:
    circuit = Circuit(2, Ansatz("RY", "ring"))
    x, angles = drawn(circuit)
    angles.requires_grad_()
    (gradient,) = torch.autograd.grad(
        estimate(x, angles, circuit, 5).square().sum(), angles, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_zeros_give_zeros_and_a_nan_stays_in_its_row() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, float("nan")], [1.0, 2.0]])
    visited = 0
    for readout in ("Z", "XYZ", "probabilities", "interferometric"):
        for noise in (None, NoiseModel(bit_flip=0.1, readout_error=0.1)):
            circuit = Circuit(1, readout=readout)
            z = estimate(x, torch.zeros(circuit.angle_shape()), circuit, 9, seeded(0), noise)
            assert not z[0].any()
            assert z[1].isnan().all()
            assert z[2].isfinite().all()
            visited += 1
    assert visited == 8
    angles = torch.zeros(Circuit(1).angle_shape(), requires_grad=True)
    rows = x[::2].clone().requires_grad_()
    estimate(rows, angles, Circuit(1), 9).sum().backward()
    assert rows.grad is not None
    assert not rows.grad[0].any()
    nan = torch.full(Circuit(1).angle_shape(), float("nan"))
    assert estimate(torch.ones(2), nan, Circuit(1), 9).isnan().all()


def test_half_precision_and_autocast_change_nothing_but_the_input() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring"))
    x, angles = torch.randn(4, 8, generator=seeded(0)).bfloat16(), torch.ones(circuit.angle_shape())
    expected = estimate(x.float(), angles, circuit, 100, seeded(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = estimate(x, angles, circuit, 100, seeded(1))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    rows = x.requires_grad_()
    estimate(rows, angles, circuit, 10).sum().backward()
    assert rows.grad is not None
    assert rows.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("readout", ["Z", "XYZ", "interferometric"])
@pytest.mark.parametrize("trajectories", [None, 20, 5])
def test_shots_under_noise_have_the_mean_of_the_noisy_state(readout: str, trajectories: int | None) -> None:
    circuit, shots, repeats = Circuit(2, Ansatz("RYRZ", "ring"), readout), 20, 3000
    noise = NoiseModel(0.03, 0.02, 0.05, 0.2, readout_error=0.04)
    x, angles = drawn(circuit)
    exact = noisy_expectation(x, angles, circuit, noise).values[0]
    found = estimate(x.expand(repeats, -1), angles, circuit, shots, seeded(2), noise, trajectories)
    assert ((found.mean(0) - exact).abs() < 4.5 * found.std(0) / repeats**0.5).all()
    independent = (1 - exact.square()) / shots
    if trajectories == 5:
        assert (found.var(0) > independent).any()
    else:
        torch.testing.assert_close(found.var(0), independent, rtol=0.16, atol=0)


def test_a_gradient_under_noise_is_refused() -> None:
    circuit = Circuit(2)
    x, angles = drawn(circuit)
    angles.requires_grad_()
    with pytest.raises(ConfigError, match=r"`noise` must be used without gradients.*torch.no_grad"):
        estimate(x, angles, circuit, 5, noise=NoiseModel(0.1))
    with torch.no_grad():
        assert not estimate(x, angles, circuit, 5, noise=NoiseModel(0.1)).requires_grad


def test_shots_are_checked() -> None:
    circuit = Circuit(2)
    x, angles = drawn(circuit)
    with pytest.raises(ConfigError, match=r"`shots` must be an integer of at least 1, but is 0"):
        estimate(x, angles, circuit, 0)
    with pytest.raises(ConfigError, match=r"`generator` must be a torch.Generator, but is 3"):
        estimate(x, angles, circuit, 10, 3)  # type: ignore[arg-type]
