"""The commands about circuits, as a user meets them."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qiskit.qasm3
import torch
from peft import get_peft_model
from qiskit.quantum_info import Statevector
from tests.command_line import InProcess
from transformers import LlamaConfig, LlamaForCausalLM

from amplitune import QAAConfig
from amplitune.adapters.qaa.stored_circuit import stored_circuits
from amplitune.commands import options
from amplitune.commands.circuit import TARGETS
from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.capacity import capacity_report
from amplitune.quantum.drawing import draw
from amplitune.quantum.resources import resources
from amplitune.quantum.transpiling import BASES

MODULE = "model.layers.0.self_attn.v_proj"


def save_adapter(folder: Path, **changes: Any) -> Path:
    """An adapter with random weights on a model 24 wide, 12 in between."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=24,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32,
        )
    )
    fields: dict[str, Any] = {"target_modules": ["q_proj", "v_proj"], "init_weights": False}
    get_peft_model(model, QAAConfig(**fields | changes)).save_pretrained(str(folder))
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "adapter")


@pytest.fixture
def row(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    x = torch.randn(24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    path = tmp_path / "row.json"
    path.write_text(json.dumps(x.tolist()), encoding="utf-8")
    return path, x


def test_drawing_a_described_circuit(command: InProcess) -> None:
    code, stdout, stderr = command("circuit", "draw", "n_qubits=2", "depth=2", "--width", "80")
    assert (code, stderr) == (options.DONE, "")
    assert stdout.splitlines()[:2] == ["0: ─╭A─RY─╭●─╭X─RY─╭●─╭X─┤ Z", "1: ─╰A─RY─╰X─╰●─RY─╰X─╰●─┤ Z"]


def test_drawing_an_adapter_with_and_without_its_angles(command: InProcess, adapter: Path) -> None:
    stored = stored_circuits(adapter)[MODULE]
    code, stdout, stderr = command("circuit", "draw", str(adapter), "--width", "90")
    assert code == options.DONE and stdout == draw(stored.circuit, width=90) + "\n"
    assert "The 2 modules of the adapter share this circuit" in stderr and MODULE in stderr
    code, stdout, stderr = command("circuit", "draw", str(adapter), "--module", "v_proj", "--width", "90")
    assert (code, stderr) == (options.DONE, "")
    assert stdout == draw(stored.circuit, stored.angles, width=90) + "\n"
    assert command("circuit", "draw", str(adapter))[0] == options.DONE


def test_an_openqasm_program_on_standard_output_prepares_the_row(
    command: InProcess, adapter: Path, row: tuple[Path, torch.Tensor]
) -> None:
    path, x = row
    arguments = ("circuit", "export", str(adapter), "--module", "v_proj", "--to", "openqasm3")
    code, stdout, stderr = command(*arguments, "--input", str(path))
    assert (code, stderr) == (options.DONE, "")
    assert stdout.splitlines()[0] == f"// Circuit of {MODULE} of {adapter}."
    built = qiskit.qasm3.loads(stdout)
    built.remove_final_measurements()
    stored = stored_circuits(adapter)[MODULE]
    expected = statevector(x, stored.angles.double(), stored.circuit)[0]
    assert abs(Statevector(built).reverse_qargs().data - expected.numpy()).max() < 1e-12
    without = command(*arguments)[1]
    assert without.count("ry(") == 5 and "not prepared here" in without


@pytest.mark.parametrize("to", ["qiskit", "pennylane"])
def test_a_script_runs_as_it_is(
    command: InProcess,
    adapter: Path,
    row: tuple[Path, torch.Tensor],
    to: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, x = row
    code, stdout, _ = command(
        "circuit",
        "export",
        str(adapter),
        "--module",
        MODULE,
        "--to",
        to,
        "--input",
        str(path),
        "-o",
        "out/c.py",
    )
    assert (code, stdout) == (options.DONE, f"{Path('out/c.py')}\n")
    exec(compile(Path("out/c.py").read_text(encoding="utf-8"), "c.py", "exec"), {"__name__": "__main__"})
    stored = stored_circuits(adapter)[MODULE]
    found = torch.tensor(json.loads(capsys.readouterr().out), dtype=torch.float64)
    assert (found - expectation(x, stored.angles, stored.circuit)).abs().max() < 1e-9


def test_several_programs_are_numbered(command: InProcess) -> None:
    fields = ("n_qubits=2", "readout=XYZ", "circuits=2")
    code, _, stderr = command("circuit", "export", *fields, "--to", "openqasm3")
    assert code == options.USAGE and "`--output` must be given for 6 programs" in stderr
    code, stdout, _ = command("circuit", "export", *fields, "--to", "openqasm3", "-o", "c.qasm")
    names = [f"c-circuit-{number}-basis-{basis}.qasm" for number in range(2) for basis in range(3)]
    assert code == options.DONE and stdout.split() == names
    texts = [Path(name).read_text(encoding="utf-8") for name in names]
    assert len(set(texts)) == 6 and "measurement of Y0, Y1" in texts[1]
    assert "angles of seed 0" in texts[0]


def test_a_file_is_overwritten_only_by_force(command: InProcess) -> None:
    arguments = ("circuit", "export", "n_qubits=2", "--to", "pennylane", "-o", "circuit.py")
    assert command(*arguments)[0] == options.DONE
    before = Path("circuit.py").read_text(encoding="utf-8")
    code, _, stderr = command(*arguments, "--seed", "1")
    assert code == options.USAGE and "but circuit.py exists" in stderr and "--force" in stderr
    assert Path("circuit.py").read_text(encoding="utf-8") == before
    assert command(*arguments, "--seed", "1", "--force")[0] == options.DONE
    assert Path("circuit.py").read_text(encoding="utf-8") != before


def test_resources_as_text_and_as_json(command: InProcess, adapter: Path) -> None:
    arguments = ("circuit", "resources", str(adapter), "--features", "24", "--tokens", "7", "--basis", "ion")
    circuit = stored_circuits(adapter)[MODULE].circuit
    expected = resources(circuit, 24, modules=2, tokens=7, basis="ion")
    code, stdout, stderr = command(*arguments)
    assert code == options.DONE and stdout == expected.text() + "\n"
    assert "The 2 modules of the adapter share this circuit" in stderr
    code, stdout, _ = command(*arguments, "--json")
    found = json.loads(stdout)
    assert code == options.DONE and found["circuit"]["n_qubits"] == 5
    assert {key: found[key] for key in expected.to_dict()} == expected.to_dict()
    code, stdout, stderr = command(*arguments, "--module", "q_proj", "--json")
    assert (code, stderr) == (options.DONE, "")
    assert json.loads(stdout)["angle_gradient_evaluations"] == 2 * 5 * 7


def test_modules_of_different_widths_have_to_be_named(command: InProcess, tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "two", target_modules=["q_proj", "down_proj"])
    code, _, stderr = command("circuit", "draw", str(folder))
    assert code == options.USAGE and "`module` must name one module" in stderr and "down_proj" in stderr
    code, stdout, _ = command("circuit", "resources", str(folder), "--module", "down_proj", "--json")
    assert code == options.DONE and json.loads(stdout)["qubits"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["draw"], "A circuit must be given"),
        (["draw", "n_qubits=2", "--width", "10"], "`width` must be an integer of at least 40"),
        (["draw", "nowhere"], "nowhere is not there"),
        (
            ["export", "n_qubits=2"],
            "`--to` must be one of 'openqasm3', 'qiskit', 'pennylane', but is missing",
        ),
        (["export", "n_qubits=2", "--to", "qsikit"], "Did you mean 'qiskit'"),
        (["export", "n_qubits=2", "--to", "qiskit", "--input", "x.json"], "`input` must be a JSON list"),
        (["export", "n_qubits=2", "--to", "qiskit", "-o", "."], "must be a file, but . is a folder"),
        (["export", "n_qubits=2", "--to", "qiskit", "-o", "/dev/null/x"], "must be a place to write to"),
        (["export", "n_qubits=2", "depth=2", "reuploading=true", "--to", "openqasm3"], "`x` must be given"),
        (["export", "{adapter}", "--to", "openqasm3"], "`module` must name one module"),
        (["export", "{adapter}", "--module", "o_proj", "--to", "qiskit"], "but is 'o_proj'"),
        (["export", "{adapter}", "depth=2", "--to", "qiskit"], "must stay as it was trained"),
        (["resources", "n_qubits=2", "--basis", "heron"], "`basis` must be one of"),
        (["resources", "n_qubits=2", "--precision", "0"], "`precision` must be a number between 0 and 1"),
        (["resources", "n_qubits=2", "--features", "5"], "`features` must be from 1 to 4"),
    ],
)
def test_misuse_is_one_message_and_exit_code_2(
    command: InProcess, adapter: Path, arguments: list[str], message: str
) -> None:
    code, stdout, stderr = command("circuit", *[part.format(adapter=adapter) for part in arguments])
    assert (code, stdout) == (options.USAGE, "")
    assert stderr.startswith("error: ") and message in stderr


def test_a_missing_package_is_a_failure_that_names_the_command(
    command: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "qiskit", None)
    code, stdout, _ = command("circuit", "resources", "n_qubits=2")
    assert code == options.DONE and "pip install 'amplitune[quantum]'" in stdout
    # A script is text: neither package is needed to write it.
    assert command("circuit", "export", "n_qubits=2", "--to", "qiskit")[0] == options.DONE


def test_help_names_every_choice(command: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = command("circuit", "resources", "--help")[1] + command("circuit", "export", "--help")[1]
    assert all(name in text for name in (*BASES, *TARGETS))


def test_capacity_of_a_described_circuit(command: InProcess) -> None:
    code, stdout, _ = command("circuit", "capacity", "n_qubits=2", "rotation_after=RY", "--draws", "20")
    assert code == 0
    assert stdout.rstrip("\n") == capacity_report(Circuit(2, Ansatz(rotation_after="RY")), draws=20).text()


def test_capacity_of_an_adapter_on_rows_as_json(command: InProcess, adapter: Path, tmp_path: Path) -> None:
    rows = torch.randn(6, 24, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    np.save(tmp_path / "rows.npy", rows.numpy())
    (tmp_path / "rows.json").write_text(json.dumps(rows.tolist()), encoding="utf-8")
    arguments = ("circuit", "capacity", str(adapter), "--draws", "20", "--seed", "3", "--json", "--input")
    found = [json.loads(command(*arguments, str(tmp_path / name))[1]) for name in ("rows.npy", "rows.json")]
    assert found[0] == found[1]
    expected = capacity_report(Circuit(5), draws=20, inputs=rows, seed=3).to_dict()
    assert {key: found[0][key] for key in expected} == json.loads(json.dumps(expected))
    assert found[0]["concentration"]["rows"]["fidelity"]["samples"] == 6


def test_capacity_refuses_one_row_where_rows_are_wanted(command: InProcess, row: tuple[Path, Any]) -> None:
    code, _, stderr = command("circuit", "capacity", "n_qubits=5", "--input", str(row[0]))
    assert code == 2
    assert "`input` must be a JSON list of lists of numbers" in stderr
    code, _, stderr = command("circuit", "capacity", "n_qubits=2", "--draws", "3")
    assert code == 2
    assert "`draws` must be" in stderr
