"""QAA's configuration: the paper's preset, and what wrong values say."""

import re
from dataclasses import fields
from typing import Any

import pytest

from amplitune import QAAConfig
from amplitune.adapters.qaa.config import PAPER_CIRCUIT
from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit

CHANGED: dict[str, Any] = {
    "n_qubits": 12,
    "rotation": "Rot",
    "entangler": "linear",
    "depth": 2,
    "entangling_gate": "CZ",
    "rotation_after": "RY",
    "readout": "Z+ZZ",
    "norm": "restore",
    "circuits": 2,
    "scaling": 0.5,
    "up_proj_bias": False,
    "train_angles": False,
    "share_circuit": True,
    "depth_pattern": {"v_proj": 2},
    "readout_pattern": {"v_proj": ["X0", "Z1"]},
    "fused_parts": {"query_key_value": ["q", "v"]},
}


def test_the_defaults_are_the_papers_circuit() -> None:
    config = QAAConfig()
    assert {name: getattr(config, name) for name in PAPER_CIRCUIT} == PAPER_CIRCUIT
    assert QAAConfig(preset="paper") == QAAConfig(preset="paper", rotation="RY", entangler="ring", depth=1)
    assert config.circuit(2048) == Circuit(11, Ansatz("RY", "ring", 1), "Z")
    assert config.circuit(2049).n_qubits == 12


def test_every_circuit_field_is_part_of_the_preset() -> None:
    own = set(QAAConfig.__annotations__) - {"preset"}
    assert own == set(PAPER_CIRCUIT)
    assert len(own) == 18
    # Re-uploading cannot change alone: it needs a depth of 2. Nor can layouts, of modules without parts.
    assert set(CHANGED) == own - {"reuploading", "fused_layouts"}
    with pytest.raises(ConfigError, match="`reuploading` must be False with preset: 'paper', but is True"):
        QAAConfig(preset="paper", reuploading=True)


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_the_preset_refuses_another_circuit(name: str) -> None:
    QAAConfig(**{name: CHANGED[name]})
    with pytest.raises(
        ConfigError,
        match=rf"`{name}` must be .* with preset: 'paper', but is .*{re.escape(str(CHANGED[name]))}",
    ):
        QAAConfig(preset="paper", **{name: CHANGED[name]})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rotation", "Ry", "`rotation` must be .* but is 'Ry'"),
        ("entangler", "rings", "`entangler` must be .* Did you mean 'ring'"),
        ("readout", "X", "`readout` must be .* but is 'X'"),
        ("readout", ["X0", "ZZ"], "`readout` must hold factors X, Y or Z .* 'ZZ' has the factor 'ZZ'"),
        ("readout", ["X70"], "`readout` must hold factors X, Y or Z with a wire from 0 to 63"),
        ("entangler", [[0, 1], [2]], r"`entangler` must hold pairs of two different wires, but has \[2\]"),
        ("entangling_gate", "CX", "`entangling_gate` must be one of 'CNOT', 'CZ', but is 'CX'"),
        ("reuploading", True, "`depth` must be at least 2 with reuploading"),
        ("norm", "keep", "`norm` must be one of 'drop', 'restore', but is 'keep'"),
        ("circuits", 0, "`circuits` must be an integer of at least 1, but is 0"),
        ("depth", 0, "`depth` must be .* but is 0"),
        ("n_qubits", 0, "`n_qubits` must be .* but is 0"),
        ("n_qubits", "4", "`n_qubits` must be .* but is '4'"),
        ("scaling", "big", "`scaling` must be a number, but is 'big'"),
        ("train_angles", "no", "`train_angles` must be true or false, but is 'no'"),
        ("depth_pattern", {"q": 0}, "`depth_pattern` has for 'q' a value .* `depth` must be .* but is 0"),
        ("depth_pattern", ["q"], r"`depth_pattern` must be a mapping, but is \['q'\]"),
        ("depth_pattern", {0: 2}, "`depth_pattern` must have module names as keys, but has 0"),
        ("depth_pattern", {"(q": 2}, r"`depth_pattern` .* but '\(q' is no regular expression"),
        ("readout_pattern", {"q": "X"}, "`readout_pattern` has for 'q' .* `readout` must be .* is 'X'"),
        ("readout_pattern", {"q": ["X70"]}, "`readout_pattern` .* wire from 0 to 63"),
        ("preset", "papers", "`preset` must be 'paper' or None, but is 'papers'"),
    ],
)
def test_a_wrong_value_is_an_error_before_there_is_a_model(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QAAConfig(**{name: value})


def test_own_wires_and_words_make_the_circuit_of_every_module_that_has_them() -> None:
    config = QAAConfig(entangler=[[4, 0], [1, 2]], readout=["X4", "Z0 Z1"])
    assert config.circuit(32) == Circuit(5, Ansatz("RY", ((4, 0), (1, 2))), ("X4", "Z0 Z1"))
    with pytest.raises(ConfigError, match=r"wires from 0 to 3 on 4 qubits, but has the pair \(4, 0\)"):
        config.circuit(16)


def test_a_module_has_the_depth_and_the_readout_of_the_first_key_that_matches() -> None:
    config = QAAConfig(
        depth=2,
        depth_pattern={"layers.0.v_proj": 4, r".*\.[qv]_proj": 3},
        readout_pattern={"v_proj": ["X1"], "k_proj": "probabilities"},
    )
    found = {
        name: (config.circuit(8, name).ansatz.depth, config.circuit(8, name).readout)
        for name in (
            "layers.0.v_proj",
            "layers.1.v_proj",
            "layers.0.q_proj",
            "layers.0.k_proj",
            "v_projector",
        )
    }
    assert found == {
        "layers.0.v_proj": (4, ("X1",)),
        "layers.1.v_proj": (3, ("X1",)),
        "layers.0.q_proj": (3, "Z"),
        "layers.0.k_proj": (2, "probabilities"),
        "v_projector": (2, "Z"),
    }


def test_patterns_are_checked_against_the_other_fields() -> None:
    QAAConfig(depth=2, reuploading=True, depth_pattern={"q": 3})
    with pytest.raises(ConfigError, match=r"`depth_pattern` .* `depth` must be at least 2 with reuploading"):
        QAAConfig(depth=2, reuploading=True, depth_pattern={"q": 1})
    with pytest.raises(ConfigError, match=r"`readout_pattern` .* must not be 'interferometric' with reup"):
        QAAConfig(depth=2, reuploading=True, readout_pattern={"q": "interferometric"})
    with pytest.raises(ConfigError, match=r"`readout_pattern` .* wire from 0 to 2, but"):
        QAAConfig(n_qubits=3, readout_pattern={"q": ["Z3"]})


def test_every_field_says_what_it_is_for() -> None:
    from amplitune import ControlConfig, SoRAConfig

    for config in (QAAConfig, SoRAConfig, ControlConfig):
        declared = fields(config)
        assert len(declared) > 20
        assert all(field.metadata["help"].strip() for field in declared)
