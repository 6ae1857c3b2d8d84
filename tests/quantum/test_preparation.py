"""Prepared states: the encoded input, and the ancilla's superposition of it with a reference."""

import torch

from amplitune.quantum import Circuit
from amplitune.quantum.preparation import ancillas, prepared


def test_rows_are_padded_and_have_norm_one_but_for_zeros() -> None:
    rows = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [1e30, 0.0, -1e30]])
    expected = torch.tensor([[0.6, 0, 0.8, 0], [0, 0, 0, 0], [0.5**0.5, 0, -(0.5**0.5), 0]])
    torch.testing.assert_close(prepared(rows, Circuit(2), torch.float32), expected)
    assert ancillas(Circuit(2)) == 0


def test_the_ancilla_stands_first_and_is_one_beside_the_uniform_superposition() -> None:
    circuit = Circuit(2, readout="interferometric")
    rows = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    states = prepared(rows, circuit, torch.float64)
    expected = torch.tensor([0.6, 0, 0.8, 0, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64) / 2**0.5
    torch.testing.assert_close(states[0], expected)
    # A row of zeros is no state: half a reference would be one that is not normalised.
    assert not states[1].any()
    assert ancillas(circuit) == 1


def test_a_nan_stays_in_its_own_row() -> None:
    rows = torch.tensor([[1.0, float("nan")], [1.0, 1.0]])
    for readout in ("Z", "interferometric"):
        states = prepared(rows, Circuit(1, readout=readout), torch.float32)
        assert states[0].isnan().any()
        assert states[1].isfinite().all()
