"""Exported scripts: run on their own, they print the engine's values."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from qiskit import transpile
from qiskit_aer import AerSimulator
from tests.quantum.export.cases import FAMILY, READOUTS, drawn, readout_circuit
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.export import values_from_counts
from amplitune.quantum.export.scripts import SCRIPTS, script

#: The statements are the same for all: every seventh circuit of the family is enough.
SOME = FAMILY[::7]


def printed(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Tensor:
    """What the script prints when it is run, one row per circuit."""
    path = folder / "circuit.py"
    path.write_text(text, encoding="utf-8")
    capsys.readouterr()
    runpy.run_path(str(path), run_name="__main__")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("to", SCRIPTS)
def test_scripts_of_the_family(to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    visited = 0
    for index, circuit in enumerate(SOME):
        x, angles = drawn(circuit, 7, seed=index)
        found = printed(script(circuit, angles, x, to=to), tmp_path, capsys)
        assert (found[0] - expectation(x, angles, circuit)).abs().max() < 1e-9, circuit
        visited += 1
    assert visited == 18 and {circuit.ansatz.reuploading for circuit in SOME} == {True, False}


@pytest.mark.parametrize("to", SCRIPTS)
@pytest.mark.parametrize("readout", READOUTS, ids=str)
def test_scripts_of_every_readout_with_circuits_in_parallel(
    readout: str | tuple[str, ...], to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    circuit = readout_circuit(readout)
    x, first = drawn(circuit, 11)
    angles = torch.cat((first, drawn(circuit, 11, seed=1)[1]))
    found = printed(script(circuit, angles, x, to=to), tmp_path, capsys)
    assert found.shape == (2, circuit.n_observables)
    assert (found.flatten() - expectation(x, angles, circuit)).abs().max() < 1e-9


@pytest.mark.parametrize("to", SCRIPTS)
def test_without_an_input_the_wires_start_in_zero(
    to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    circuit = readout_circuit("Z")
    _, angles = drawn(circuit, 1)
    found = printed(script(circuit, angles, to=to), tmp_path, capsys)
    assert (found[0] - expectation(torch.ones(1), angles, circuit)).abs().max() < 1e-9


def functions(text: str, folder: Path) -> dict[str, Any]:
    path = folder / "circuit.py"
    path.write_text(text, encoding="utf-8")
    return runpy.run_path(str(path))


def test_the_functions_take_another_row(tmp_path: Path) -> None:
    circuit = readout_circuit("interferometric")
    x, angles = drawn(circuit, 11)
    built = functions(script(circuit, angles, to="pennylane"), tmp_path)["circuit"]
    found = torch.tensor([float(value) for value in built(x=x.numpy())])
    assert (found - expectation(x, angles, circuit)).abs().max() < 1e-6


def test_the_qiskit_script_measures_in_every_basis(tmp_path: Path) -> None:
    circuit = readout_circuit(("X0 Y3", "Z1", "Y0 Z2 X3", "X0"))
    x, angles = drawn(circuit, 11)
    made = functions(script(circuit, angles, x, to="qiskit"), tmp_path)
    simulator = AerSimulator(seed_simulator=4)
    built = [made["measured"](made["circuit"](), basis) for basis in made["BASES"]]
    result = simulator.run(transpile(built, simulator, optimization_level=0), shots=10_000).result()
    found = values_from_counts(circuit, [result.get_counts(k) for k in range(len(built))])
    expected = expectation(x, angles, circuit)
    assert ((found - expected).abs() <= 4 * ((1 - expected**2) / 10_000).sqrt()).all()


@pytest.mark.parametrize("to", SCRIPTS)
def test_a_script_needs_nothing_of_amplitune_in_a_process_of_its_own(to: str, tmp_path: Path) -> None:
    circuit = Circuit(1, Ansatz("RY", "none", 2, reuploading=True))
    x, angles = drawn(circuit, 2)
    text = script(circuit, angles, x, to=to, title='of C:\\adapter "q"')
    assert "amplitune" not in text
    path = tmp_path / "circuit.py"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", str(path)], capture_output=True, text=True, check=True
    )
    assert abs(json.loads(done.stdout)[0] - float(expectation(x, angles, circuit))) < 1e-9


@pytest.mark.parametrize("to", SCRIPTS)
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_row_of_any_size(scale: float, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    circuit = readout_circuit("Z")
    x, angles = drawn(circuit, 11)
    found = printed(script(circuit, angles, x * scale, to=to), tmp_path, capsys)
    assert (found[0] - expectation(x, angles, circuit)).abs().max() < 1e-9


def test_a_script_notes_what_its_values_still_need() -> None:
    circuit = Circuit(2, readout="interferometric", norm="restore")
    text = script(circuit, torch.zeros(circuit.angle_shape()), to="qiskit")
    assert "multiplies the values by ||x||" in text and "Wire 2 is the ancilla" in text


def test_misuse() -> None:
    circuit = Circuit(2)
    zeros = torch.zeros(circuit.angle_shape())
    with pytest.raises(ConfigError, match="`to` must be one of 'pennylane', 'qiskit', but is 'cirq'"):
        script(circuit, zeros, to="cirq")
    with pytest.raises(ConfigError, match="`angles` must have the shape"):
        script(circuit, zeros[0], to="qiskit")
    with pytest.raises(ConfigError, match="`x` must be given with reuploading"):
        script(Circuit(2, Ansatz(depth=2, reuploading=True)), torch.zeros(1, 2, 1, 2), to="qiskit")
