"""The capacity report: everything measured, what is left out with its reason, and both ways to read it."""

import json

import pytest
import torch

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.capacity import capacity_report


def test_a_report_with_inputs_holds_every_measure() -> None:
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(0)) + 1
    circuit = Circuit(4, Ansatz("RYRZ", "ring", rotation_after="RY"))
    report = capacity_report(circuit, draws=40, inputs=x)
    assert report.left_out == {}
    kinds = [(result.reference, result.binning) for result in report.expressibility]
    assert kinds == [("complex", "width"), ("complex", "probability")]
    assert report.jacobian is not None
    assert (report.jacobian.rank, report.angles, report.inputs) == (12, 12, 8)
    values = json.loads(json.dumps(report.to_dict()))
    assert Circuit.from_dict(values["circuit"]) == circuit
    assert len(values["fisher"]["eigenvalues"]) == 12
    text = report.text()
    for line in (
        "expressibility against",
        "Meyer-Wallach",
        "of the encoded inputs",
        "gradient variance",
        "slope",
        "Fisher",
        "effective dimension",
        "rank of",
        "pairwise fidelity",
        "readout spread",
    ):
        assert line in text
    assert "left out" not in text


def test_a_real_circuit_is_held_against_both_groups() -> None:
    report = capacity_report(Circuit(3), draws=20)
    kinds = [(result.reference, result.binning) for result in report.expressibility]
    assert kinds == [("real", "width"), ("real", "probability"), ("complex", "width")]
    assert report.left_out == {"concentration": "no inputs were given"}
    assert "started from |0...0>" in report.text()


@pytest.mark.parametrize(
    ("circuit", "left_out"),
    [
        (Circuit(1, Ansatz("RY", "none")), {"plateau", "concentration"}),
        (Circuit(3, Ansatz(depth=2, reuploading=True)), {"jacobian", "concentration"}),
        (Circuit(9, Ansatz("RY", "linear")), {"jacobian", "concentration"}),
        (Circuit(3, Ansatz(), readout=("Z0", "X2")), {"plateau", "concentration"}),
    ],
)
def test_what_cannot_be_measured_is_left_out_with_its_reason(circuit: Circuit, left_out: set[str]) -> None:
    report = capacity_report(circuit, draws=20)
    assert set(report.left_out) == left_out
    for measure, reason in report.left_out.items():
        assert getattr(report, measure) is None
        assert f"left out: {measure}: {reason}" in report.text()


def test_a_seed_repeats_the_report() -> None:
    first, again, other = (capacity_report(Circuit(2), draws=20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(ConfigError, match="`draws` must be an integer of at least 20"):
        capacity_report(Circuit(2), draws=5)
