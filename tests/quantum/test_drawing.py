"""The drawing: every gate where it belongs, lines that fit, and a legend that names the readout."""

import re

import pytest
import torch
from tests.quantum.export.cases import FAMILY, SIZE, drawn

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.drawing import draw
from amplitune.quantum.gate_list import layer_gates


def body(text: str) -> list[str]:
    """The lines of wires."""
    return [line for line in text.splitlines() if re.match(r" *(\d+|a): (···)?─", line)]


def test_a_circuit_as_a_whole() -> None:
    circuit = Circuit(3, Ansatz("RY", "ring", 2, "CZ", "RY", reuploading=True), ("X0", "Z0 Y2"), "restore")
    angles = torch.tensor([0.5, -0.001, 2.0, 1.0, 1.5, -2.25]).reshape(1, 1, 2, 3).repeat(1, 2, 1, 1)
    assert draw(circuit, angles, width=120).splitlines() == [
        "0: ─╭A─RY(0.50)─╭●────╭Z─RY(1.00)──╭V─RY(0.50)─╭●────╭Z─RY(1.00)──┤ XZ",
        "1: ─├A─RY(0.00)─╰Z─╭●─│──RY(1.50)──├V─RY(0.00)─╰Z─╭●─│──RY(1.50)──┤",
        "2: ─╰A─RY(2.00)────╰Z─╰●─RY(-2.25)─╰V─RY(2.00)────╰Z─╰●─RY(-2.25)─┤ Y",
        "A: amplitudes x / ||x||, wire 0 the most significant bit",
        "V: reflection I - 2 |a><a| about the state a that A prepares",
        "reads 2 values: X0, Z0 Y2; in 2 measurement bases; multiplied by ||x||",
    ]


def test_the_ancilla_stands_below_the_wires() -> None:
    assert draw(Circuit(2, readout="interferometric")).splitlines() == [
        "0: ─╭A─RY─╭●─╭X─┤ Z",
        "1: ─├A─RY─╰X─╰●─┤ Z",
        "a: ─╰A──────────┤ X",
        "A: (|0>|x / ||x||> + |1>|r>) / sqrt(2), r uniform, a the ancilla, most significant bit",
        "reads 2 values: Z0 Xa, Z1 Xa",
    ]


def test_gates_on_separate_wires_share_a_column() -> None:
    pairs = ((0, 1), (2, 3), (3, 0))
    lines = draw(Circuit(4, Ansatz("RY", pairs), "probabilities")).splitlines()
    assert lines[:4] == [
        "0: ─╭A─RY─╭●─╭X─┤ p",
        "1: ─├A─RY─╰X─│──┤ p",
        "2: ─├A─RY─╭●─│──┤ p",
        "3: ─╰A─RY─╰X─╰●─┤ p",
    ]
    assert lines[-1] == "reads 16 values: the probabilities of the basis states"


def test_one_wire() -> None:
    circuit = Circuit(1, Ansatz("Rot", "ring"))
    assert draw(circuit).splitlines()[0] == "0: ─A─RZ─RY─RZ─┤ Z"
    assert draw(circuit).splitlines()[-1] == "reads 1 value: Z0"


def test_every_gate_of_the_family_is_on_its_wires_and_no_line_is_too_long() -> None:
    visited = 0
    for circuit in FAMILY:
        text = draw(circuit, width=60)
        lines = body(text)
        assert all(len(line) <= 60 for line in lines)
        rows = ["".join(line for line in lines if line.startswith(f"{wire}:")) for wire in range(3)]
        gates = [gate for layer in layer_gates(circuit) for gate in layer]
        for wire, row in enumerate(rows):
            own = [gate for gate in gates if wire in gate.wires]
            for name in ("RY", "RZ"):
                assert row.count(name) == sum(gate.name == name for gate in own), circuit
            assert row.count("●") == sum(len(gate.wires) == 2 and gate.wires[0] == wire for gate in own)
            target = "X" if circuit.ansatz.entangling_gate == "CNOT" else "Z"
            targets = sum(len(gate.wires) == 2 and gate.wires[1] == wire for gate in own)
            # The Z of the readout stands at the end of the row.
            assert row.removesuffix("┤ Z").count(target) - row.count("RZ") * (target == "Z") == targets
            assert row.count("V") == circuit.ansatz.reuploading
        visited += 1
    assert visited == SIZE


def test_a_long_circuit_goes_on_below() -> None:
    circuit = Circuit(3, Ansatz("Rot", "ring", 3))
    _, angles = drawn(circuit, 8)
    *segments, legend = draw(circuit, angles, width=50).split("\n\n")
    assert len(segments) == 2
    for index, segment in enumerate([*segments, "\n".join(legend.splitlines()[:3])]):
        lines = segment.splitlines()
        assert [line[0] for line in lines] == ["0", "1", "2"]
        assert len({len(line) for line in lines}) == 1 and len(lines[0]) <= 50
        assert all(line[3:].startswith("···") for line in lines) == (index > 0)
        assert all(line.endswith("···") for line in lines) == (index < len(segments))


def test_circuits_in_parallel_are_drawn_one_below_the_other() -> None:
    circuit = Circuit(2)
    text = draw(circuit, torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(2, 1, 1, 2))
    assert "circuit 0 of 2\n0: ─╭A─RY(1.00)" in text
    assert "circuit 1 of 2\n0: ─╭A─RY(3.00)" in text
    assert text.count("reads 2 values") == 1


@pytest.mark.parametrize(
    ("angles", "width", "message"),
    [
        (None, 39, "`width` must be an integer of at least 40"),
        (None, True, "`width`"),
        (torch.zeros(1, 1, 1, 4), 100, "`angles` must have the shape"),
        ([1.0], 100, "`angles` must be a real"),
    ],
)
def test_misuse(angles: torch.Tensor | None, width: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(Circuit(3), angles, width)
