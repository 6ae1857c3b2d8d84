"""Random draws: angles, inputs and batches, and what is refused."""

import math

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import draws
from amplitune.quantum.capacity.draws import (
    batches,
    checked_inputs,
    checked_reference,
    random_angles,
    seeded,
    whole_rounds,
)


def test_angles_fill_the_circle_and_repeat_with_their_seed() -> None:
    circuit = Circuit(3, Ansatz("Rot", depth=2))
    angles = random_angles(circuit, 200, seeded(1))
    assert angles.shape == circuit.angle_shape(200)
    assert angles.dtype == torch.float64
    assert 0 <= angles.min() < 0.05
    assert 2 * math.pi - 0.05 < angles.max() < 2 * math.pi
    assert torch.equal(angles, random_angles(circuit, 200, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_batches_deal_each_draw_once_to_its_row(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "PASS", 40)
    seen = []
    for row, numbers in batches(25, rows, amplitudes=16):
        assert len(numbers) <= 2
        assert (numbers % rows == row).all()
        seen += numbers.tolist()
    assert sorted(seen) == list(range(25))


def test_rounds_are_whole() -> None:
    assert [whole_rounds(10, rows) for rows in (1, 3, 10, 11)] == [10, 12, 10, 11]


def test_no_inputs_are_the_first_basis_state() -> None:
    assert torch.equal(checked_inputs(None, Circuit(3)), torch.ones(1, 1, dtype=torch.float64))
    assert checked_inputs(torch.ones(5), Circuit(3)).shape == (1, 5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(2, 4), "row 0"),
        (torch.tensor([[1.0, 0.0], [math.nan, 1.0]]), "row 1"),
        (torch.ones(1, 2, 4), r"\(rows, features\)"),
        (torch.ones(0, 4), r"\(rows, features\)"),
        (torch.ones(2, 5), "`n_qubits` must be at least"),
    ],
)
def test_inputs_without_a_state_are_refused(inputs: torch.Tensor, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked_inputs(inputs, Circuit(2))


def test_seeds_and_references_are_checked() -> None:
    with pytest.raises(ConfigError, match="`seed` must be an integer"):
        seeded("0")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'complex'"):
        checked_reference("compex", Circuit(2))
    assert checked_reference(None, Circuit(2, Ansatz("RYRZ"))) == "complex"
