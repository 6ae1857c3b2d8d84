"""The with-block of measured circuits: what it evaluates, where it applies, and what it refuses."""

from threading import Thread

import pytest
import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation, project
from amplitune.quantum.estimation import estimate
from amplitune.quantum.measured import Measured, active, measured
from amplitune.quantum.noise import NoiseModel
from amplitune.quantum.noisy_expectation import noisy_expectation


def drawn(circuit: Circuit) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2**circuit.n_qubits, generator=generator)
    return x, torch.randn(circuit.angle_shape(), generator=generator)


def test_a_block_evaluates_by_shots_under_noise_or_both() -> None:
    circuit, noise = Circuit(7, Ansatz("RY", "ring")), NoiseModel(0.02, readout_error=0.01)
    x, angles = drawn(circuit)

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(4)

    expected = {
        (40, None): estimate(x, angles, circuit, 40, seeded()),
        (None, noise): noisy_expectation(x, angles, circuit, noise, 6, seeded()).values,
        (40, noise): estimate(x, angles, circuit, 40, seeded(), noise, 6),
    }
    for (shots, errors), values in expected.items():
        with measured(shots, errors, 6, seeded()) as evaluation:
            assert torch.equal(evaluation.expectation(x, angles, circuit), values)
    assert not torch.equal(expected[40, None], expected[40, noise])


def test_the_innermost_block_counts_and_ends_with_an_error_too() -> None:
    assert active() is None
    with measured(shots=10) as outer:
        assert active() is outer
        with pytest.raises(ZeroDivisionError), measured(noise=NoiseModel(0.1)) as inner:
            assert active() is inner
            raise ZeroDivisionError
        assert active() is outer
    assert active() is None


def test_a_block_applies_to_its_own_thread() -> None:
    seen: list[Measured | None] = []
    with measured(shots=10):
        thread = Thread(target=lambda: seen.append(active()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_compiled_code_sees_a_block_that_opens_later() -> None:
    def double(x: Tensor) -> Tensor:
        return 2 * x if active() is None else x

    # Without a break as long as no block is open; then compiled anew.
    whole = torch.compile(double, backend="eager", fullgraph=True)
    parts = torch.compile(double, backend="eager")
    x = torch.ones(2)
    assert torch.equal(whole(x), 2 * x)
    assert torch.equal(parts(x), 2 * x)
    with measured(shots=10):
        assert torch.equal(parts(x), x)
    assert torch.equal(parts(x), 2 * x)
    assert torch.equal(whole(x), 2 * x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"`shots` or `noise` must be given, but both are unset"),
        ({"shots": 0}, r"`shots` must be an integer of at least 1, but is 0"),
        ({"noise": 0.1}, r"`noise` must be a NoiseModel, but is 0\.1"),
        ({"shots": 5, "trajectories": 1}, r"`trajectories` must be an integer of at least 2, but is 1"),
    ],
)
def test_a_block_that_cannot_evaluate_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message), measured(**arguments):  # type: ignore[arg-type]
        raise AssertionError
    assert active() is None


def test_expectation_and_projection_inside_a_block_are_measured() -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring"))
    x, angles = drawn(circuit)
    base, weight, bias = torch.ones(3, 2), torch.ones(2, 3), torch.ones(2)
    generator = torch.Generator().manual_seed(1)
    expected = estimate(x, angles, circuit, 50, generator)
    with measured(shots=50, generator=generator.manual_seed(1)):
        assert torch.equal(expectation(x, angles, circuit), expected)
    with measured(shots=50, generator=generator.manual_seed(1)):
        found = project(base, x, angles, weight, bias, circuit, 0.5)
    torch.testing.assert_close(found, base + 0.5 * (expected @ weight.T + bias))
