"""Where a command's circuit comes from, and what is refused before anything is computed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from amplitune.commands.circuit_source import find_circuit, read_row
from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit


def test_fields_on_the_command_line() -> None:
    found = find_circuit(
        ["n_qubits=3", "rotation=RYRZ", "entangler=[[0, 1], [2, 0]]", "readout=[X0, Z1 Z2]", "circuits=2"]
    )
    assert found.circuit == Circuit(3, Ansatz("RYRZ", ((0, 1), (2, 0))), ("X0", "Z1 Z2"))
    assert (found.circuits, found.angles, found.modules) == (2, None, ())
    drawn = found.with_angles(seed=3)
    assert drawn.angles is not None and drawn.angles.shape == (2, 1, 2, 3)
    assert drawn.angles.abs().max() <= math.pi and "angles of seed 3" in drawn.title
    again = found.with_angles(seed=3).angles
    assert again is not None and torch.equal(again, drawn.angles)


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_a_file_of_fields_with_overrides(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"circuit{suffix}"
    described = Circuit(2, Ansatz("RY", ((1, 0),), 2), "XYZ").to_dict() | {
        "angles": [[[0.5, 1]], [[2, -1e-3]]]
    }
    path.write_text(json.dumps(described), encoding="utf-8")
    found = find_circuit([str(path), "readout=Z"])
    assert found.circuit == Circuit(2, Ansatz("RY", ((1, 0),), 2))
    assert found.angles is not None and found.angles.flatten().tolist() == [0.5, 1, 2, -1e-3]
    assert found.with_angles(0) is found


def test_the_width_gives_the_qubits_where_they_are_not_named() -> None:
    assert find_circuit(["depth=1"], features=768).circuit.n_qubits == 10
    assert find_circuit(["n_qubits=11"], features=768).circuit.n_qubits == 11
    assert find_circuit([], features=768).circuit == Circuit(10)


@pytest.mark.parametrize(
    ("arguments", "module", "message"),
    [
        ([], None, "A circuit must be given, but is missing"),
        (["depth=2"], None, "`n_qubits` must be given"),
        (["n_qubits=2", "dept=2"], None, "Did you mean 'depth'"),
        (["n_qubits=2", "depth"], None, "must have the form key=value, but is 'depth'"),
        (["n_qubits=2", "entangler=[[0"], None, "is not valid YAML"),
        (["n_qubits=2", "circuits=0"], None, "`circuits` must be an integer of at least 1"),
        (["n_qubits=2", "angles=[[[1, 2, 3]]]"], None, "`angles` must have the shape"),
        (["n_qubits=2", "angles=[[[1, x]]]"], None, "`angles` must be nested lists of numbers"),
        (["n_qubits=2", "angles=[[[1], [2, 3]]]"], None, "`angles` must be nested lists of numbers"),
        (["n_qubits=1", "angles=[[[1]]]", "circuits=2"], None, "`circuits` must be 1, as `angles` has them"),
        (["n_qubits=2"], "q_proj", "`module` must not be given for a described circuit"),
        (["nowhere.yaml"], None, "nowhere.yaml is not there"),
        (["."], None, "is a folder without adapter_config.json"),
        (["list.yaml"], None, "must hold a mapping"),
        (["binary.yaml"], None, "is not valid YAML"),
    ],
)
def test_misuse(
    arguments: list[str], module: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("[1, 2]", encoding="utf-8")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=message):
        find_circuit(arguments, module)


def test_a_row_is_a_list_or_an_array(tmp_path: Path) -> None:
    (tmp_path / "row.json").write_text("[1, -2.5, 3e-1]", encoding="utf-8")
    np.save(tmp_path / "row.npy", np.array([1, -2.5, 0.3], dtype=np.float32))
    assert read_row(tmp_path / "row.json").tolist() == [1.0, -2.5, 0.3]
    row = read_row(tmp_path / "row.npy")
    assert row.dtype == torch.float64 and torch.allclose(row, torch.tensor([1, -2.5, 0.3]).double())


@pytest.mark.parametrize(
    "content", [None, "[[1, 2]]", "[]", "[1, true, null]", '["a"]', "{", "3", "[true, false]", '{"x": [1]}']
)
def test_what_is_no_row(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="`input` must be a JSON list of numbers, or a "):
        read_row(path)


@pytest.mark.parametrize("values", [np.ones((2, 2)), np.array([1j]), np.array([None, {}], dtype=object)])
def test_what_is_no_array_of_one_row(values: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "row.npy", values, allow_pickle=True)
    with pytest.raises(ConfigError, match="`input` must be"):
        read_row(tmp_path / "row.npy")
