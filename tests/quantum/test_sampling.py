"""Measured bit strings: their distribution, seeds, shapes and memory, and what is refused."""

import pytest
import torch
from tests.quantum.mixed_states import run_mixed
from tests.quantum.test_bases import dense
from torch.utils._python_dispatch import TorchDispatchMode

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, outcomes, statevector
from amplitune.quantum.bases import bases_of
from amplitune.quantum.kernels.reference import PASS
from amplitune.quantum.noise import NoiseModel, misread
from amplitune.quantum.sampling import draw, frequencies, sample

READOUTS: list[str | tuple[str, ...]] = [
    "Z",
    "Z+ZZ",
    "XYZ",
    "probabilities",
    ("X0 Y2", "Z1", "Y0 Y1"),
    "interferometric",
]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chi_square_is_plausible(counts: torch.Tensor, probabilities: torch.Tensor) -> bool:
    """Whether Pearson's statistic is within 4.5 standard deviations; outcomes that are rare count as one."""
    shots = counts.sum()
    often = probabilities * shots >= 5
    seen = torch.cat((counts[often], counts[~often].sum()[None]))
    expected = torch.cat((probabilities[often], probabilities[~often].sum()[None])) * shots
    seen, expected = seen[expected > 0], expected[expected > 0]
    freedom = len(expected) - 1
    statistic = ((seen - expected).square() / expected).sum()
    return bool((statistic - freedom).abs() < 4.5 * (2 * freedom) ** 0.5)


@pytest.mark.parametrize("rotation", ["RY", "Rot"])
@pytest.mark.parametrize("readout", READOUTS)
def test_outcomes_follow_the_state_in_each_basis(readout: str | tuple[str, ...], rotation: str) -> None:
    circuit = Circuit(3, Ansatz(rotation, "ring", depth=2), readout)
    x = torch.randn(2, 7, generator=seeded(0), dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(2), generator=seeded(1), dtype=torch.float64)
    bases, shots = bases_of(circuit), 20_000
    states = statevector(x, angles, circuit).to(torch.complex128)
    if readout == "interferometric":
        uniform = statevector(torch.ones(2, 8, dtype=torch.float64), angles, circuit)
        states = torch.cat((states, uniform), dim=-1) / 2**0.5
    found = sample(x, angles, circuit, shots, seeded(2))
    assert found.shape == (2, 2, len(bases) * shots)
    assert found.dtype == torch.int64
    visited = 0
    for place, basis in enumerate(bases):
        expected = (states @ dense(basis.letters).T).abs().square()
        measured = found[..., place * shots : (place + 1) * shots]
        for token in range(2):
            for one in range(2):
                counts = torch.bincount(measured[token, one], minlength=expected.shape[-1])
                assert chi_square_is_plausible(counts, expected[token, one])
                visited += 1
    assert visited == 4 * len(bases)


def test_the_plausibility_of_counts_can_fail() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    assert chi_square_is_plausible(torch.tensor([5020.0, 2990.0, 1990.0]), probabilities)
    assert not chi_square_is_plausible(torch.tensor([5300.0, 2900.0, 1800.0]), probabilities)


@pytest.mark.parametrize("trajectories", [None, 20_000, 500])
def test_outcomes_follow_the_noisy_distribution(trajectories: int | None) -> None:
    circuit = Circuit(3, Ansatz("RYRZ", "ring", depth=1), "probabilities")
    noise = NoiseModel(0.02, 0.02, 0.02, 0.1, readout_error=0.05)
    x = torch.randn(1, 8, generator=seeded(0), dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(), generator=seeded(1), dtype=torch.float64)
    (expected,) = run_mixed(x, angles, [circuit], noise)
    found = sample(x, angles, circuit, 20_000, seeded(3), noise, trajectories)[0, 0]
    counts = torch.bincount(found, minlength=8)
    plausible = chi_square_is_plausible(counts, misread(expected[0], 0.05))
    # Shots that share the errors of few trajectories are not independent; their mean is right all the same.
    assert (
        plausible
        if trajectories != 500
        else (counts / 20_000 - misread(expected[0], 0.05)).abs().max() < 0.05
    )


def test_the_same_seed_gives_the_same_outcomes_and_another_one_others() -> None:
    circuit = Circuit(4, Ansatz("RY", "ring"), "XYZ")
    x, angles = torch.rand(3, 16), torch.rand(circuit.angle_shape(2))
    noise = NoiseModel(depolarizing=0.1)
    for arguments in ((), (noise,), (noise, 10)):
        first, again, other = (sample(x, angles, circuit, 50, seeded(seed), *arguments) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    torch.manual_seed(1)
    first = sample(x, angles, circuit, 50)
    torch.manual_seed(1)
    assert torch.equal(first, sample(x, angles, circuit, 50))


def test_leading_dimensions_stay_and_may_be_empty() -> None:
    circuit = Circuit(3, readout="XYZ")
    angles = torch.zeros(circuit.angle_shape(2))
    for shape in ((8,), (1, 5), (2, 0, 5), (2, 3, 4, 8)):
        assert sample(torch.ones(shape), angles, circuit, 7).shape == (*shape[:-1], 2, 3 * 7)


def test_a_row_without_a_state_has_no_outcome() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, float("nan"), 0.0], [1.0, float("inf"), 0.0], [1.0, 0.0, 0.0]])
    for readout in ("Z", "Z+ZZ", "XYZ", "probabilities", "interferometric"):
        circuit = Circuit(2, readout=readout)
        for noise in (None, NoiseModel(bit_flip=0.1)):
            found = sample(x, torch.zeros(circuit.angle_shape()), circuit, 9, seeded(0), noise)
            assert (found[:3] == -1).all()
            assert (found[3] >= 0).all()


def test_wire_zero_is_the_most_significant_bit() -> None:
    circuit = Circuit(3, Ansatz("RY", "none"))
    found = sample(torch.eye(8), torch.zeros(circuit.angle_shape()), circuit, 3)
    assert torch.equal(found[:, 0], torch.arange(8)[:, None].expand(8, 3))


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def test_many_tokens_and_shots_need_no_tensor_of_tokens_by_shots_by_amplitudes() -> None:
    circuit, tokens, shots = Circuit(11), 2000, 100
    x, angles = torch.randn(tokens, 2048, generator=seeded(0)), torch.zeros(circuit.angle_shape())
    with LargestTensor() as mode:
        found = sample(x, angles, circuit, shots, seeded(0))
    assert found.shape == (tokens, 1, shots)
    assert found.min() >= 0
    assert mode.largest <= PASS
    assert tokens * 2048 <= PASS < tokens * shots * 2048


def test_outcomes_in_several_passes_are_outcomes_of_the_same_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circuit = Circuit(2, readout="probabilities")
    x, angles = torch.tensor([[3.0, 0.0, 4.0, 0.0]]).expand(4000, 4), torch.zeros(circuit.angle_shape())
    monkeypatch.setattr(outcomes, "PASS", 999)
    found = sample(x, angles, circuit, 5, seeded(0))
    assert found.shape == (4000, 1, 5)
    expected = statevector(x[0], angles, circuit)[0].square()
    assert chi_square_is_plausible(torch.bincount(found.flatten(), minlength=4), expected)


def test_frequencies_are_counts_over_shots() -> None:
    found = draw(torch.tensor([[1.0, 0.0, 3.0], [0.0, 0.0, 0.0]]), 4000, seeded(0))
    measured = frequencies(found, 3)
    torch.testing.assert_close(
        measured, torch.stack([(found == k).double().mean(-1) for k in range(3)], dim=-1)
    )
    assert abs(measured[0, 2] - 0.75) < 4.5 * (0.75 * 0.25 / 4000) ** 0.5
    assert measured[1].tolist() == [0, 0, 0]


def test_single_precision_does_not_bias_the_outcomes() -> None:
    # 2**24 + 1 has no float32: cumulative sums in single precision would lose every outcome after the first.
    weights = torch.cat((torch.tensor([2.0**24]), torch.ones(2**14)))
    found = draw(weights, 200_000, seeded(0))
    rare = (found > 0).double().mean()
    expected = 2**14 / (2**24 + 2**14)
    assert abs(rare - expected) < 4.5 * (expected / 200_000) ** 0.5


@pytest.mark.parametrize("shots", [0, -1, 2.5, True, "10", None])
def test_shots_that_cannot_be_run_are_refused(shots: object) -> None:
    circuit = Circuit(2)
    with pytest.raises(ConfigError, match=r"`shots` must be an integer of at least 1, but is"):
        sample(torch.ones(4), torch.zeros(circuit.angle_shape()), circuit, shots)  # type: ignore[arg-type]


@pytest.mark.parametrize("trajectories", [0, 1, 2.5, True])
def test_trajectories_without_a_spread_are_refused(trajectories: object) -> None:
    circuit = Circuit(2)
    x, angles, noise = torch.ones(4), torch.zeros(circuit.angle_shape()), NoiseModel(0.1)
    with pytest.raises(ConfigError, match=r"`trajectories` must be an integer of at least 2, but is"):
        sample(x, angles, circuit, 5, None, noise, trajectories)  # type: ignore[arg-type]


def test_a_generator_that_cannot_serve_is_refused() -> None:
    circuit = Circuit(2)
    x, angles = torch.ones(4, device="meta"), torch.zeros(circuit.angle_shape(), device="meta")
    with pytest.raises(ConfigError, match=r"`generator` must be on the device of `x`, meta, but is on cpu"):
        sample(x, angles, circuit, 5, torch.Generator())
    with pytest.raises(ConfigError, match=r"`generator` must be a torch.Generator, but is 0"):
        sample(x, angles, circuit, 5, 0)  # type: ignore[arg-type]


def test_other_arguments_are_checked_as_those_of_an_expectation() -> None:
    with pytest.raises(ConfigError, match="`n_qubits` must be at least"):
        sample(torch.ones(5), torch.zeros(Circuit(2).angle_shape()), Circuit(2), 5)
    with pytest.raises(ConfigError, match="`angles` must have the shape"):
        sample(torch.ones(4), torch.zeros(2), Circuit(2), 5)
