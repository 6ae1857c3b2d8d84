"""Adapters that were saved when their format version was current load and compute what they did then."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tests.adapters.files.golden.cases import BASES, CONFIGS, FOLDER, Base, base, inputs, numbers

from amplitune import ControlConfig, QAAConfig, SoRAConfig
from amplitune.adapters.control.config import FIELDS_OF
from amplitune.adapters.files.file_format import FORMAT_VERSION
from amplitune.quantum import Circuit
from amplitune.quantum.ansatz import ENTANGLERS, ENTANGLING_GATES, ROTATIONS
from amplitune.quantum.circuit import NORMS
from amplitune.quantum.kernels.dispatch import kernel
from amplitune.quantum.readout import NAMES

VERSIONS = sorted(FOLDER.glob("v*"), key=lambda path: int(path.name[1:]))
GOLDEN = sorted(path.parent for path in FOLDER.glob("v*/*/adapter_config.json"))
LATEST = FOLDER / f"v{FORMAT_VERSION}"
CLASSES: dict[str, Any] = {"QAA": QAAConfig, "SORA": SoRAConfig, "CONTROL": ControlConfig}


def config_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return values


def test_every_version_has_its_adapters() -> None:
    assert [int(path.name[1:]) for path in VERSIONS] == list(range(1, FORMAT_VERSION + 1))
    assert {path.name for path in LATEST.iterdir()} == set(CONFIGS) > set(BASES)
    assert all(config_of(folder)["format_version"] == int(folder.parent.name[1:]) for folder in GOLDEN)
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in GOLDEN]
    assert len(sizes) >= len(CONFIGS)
    assert max(sizes) < 30_000


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
def test_a_saved_adapter_computes_what_it_did(folder: Path, low_cpu_mem_usage: bool) -> None:
    expected = load_file(folder / "expected.safetensors")
    assert torch.equal(expected["inputs"], inputs())
    model = PeftModel.from_pretrained(
        base(folder.name), str(folder), low_cpu_mem_usage=low_cpu_mem_usage
    ).eval()
    with torch.no_grad():
        outputs = model(expected["inputs"])
        without = base(folder.name).eval()(expected["inputs"])
        torch.testing.assert_close(outputs, expected["outputs"], rtol=1e-5, atol=1e-5)
        if config_of(folder)["peft_type"] == "QAA":
            with kernel("torch"):
                torch.testing.assert_close(
                    model(expected["inputs"]), expected["outputs"], rtol=1e-5, atol=1e-5
                )
    assert float((outputs - without).abs().amax(-1).min()) > 1e-2, "the adapter changes nothing"


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_saved_again_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    model = PeftModel.from_pretrained(base(folder.name), str(folder))
    model.save_pretrained(str(tmp_path))
    first, again = (load_file(path / "adapter_model.safetensors") for path in (folder, tmp_path))
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    before, after = config_of(folder), config_of(tmp_path)
    before.pop("peft_version"), after.pop("peft_version")
    for values in (before, after):
        values["target_modules"] = sorted(values["target_modules"])
    # Fields of later versions come beside those that the adapter was saved with.
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize("method", CLASSES)
def test_a_version_has_exactly_its_fields(method: str) -> None:
    """A field that is new or gone takes a new format version, and golden adapters of it."""
    found = [folder for folder in LATEST.iterdir() if config_of(folder)["peft_type"] == method]
    fields = {entry.name for entry in dataclasses.fields(CLASSES[method])}
    assert len(found) >= 2
    assert all(set(config_of(folder)) == fields for folder in found)


def test_the_circuit_is_complete() -> None:
    fields = set(Circuit(n_qubits=1).to_dict())
    circuits = [folder for folder in GOLDEN if config_of(folder)["peft_type"] == "QAA"]
    assert len(circuits) >= 7
    for folder in circuits:
        values = config_of(folder)
        assert fields < values.keys()
        d_in = {"first": 11, "second": 14, "conv": 6, "q": 11, "k": 11}
        model: Any = PeftModel.from_pretrained(Base(), str(folder))
        for name in values["target_modules"]:
            features = d_in[name]
            layer = getattr(model.base_model.model, name)
            described = {field: values[field] for field in fields} | {
                "n_qubits": values["n_qubits"] or (features - 1).bit_length(),
                "depth": values["depth_pattern"].get(name, values["depth"]),
                "readout": values["readout_pattern"].get(name, values["readout"]),
            }
            assert layer.qaa_circuit["default"] == Circuit.from_dict(described)


def test_the_golden_circuits_have_every_value_of_every_choice() -> None:
    folders = [folder for folder in LATEST.iterdir() if config_of(folder)["peft_type"] == "QAA"]
    seen = {
        name: {str(config_of(folder)[name]) for folder in folders} for name in Circuit(n_qubits=1).to_dict()
    }
    named = {
        "rotation": set(ROTATIONS),
        "rotation_after": {"none", *ROTATIONS},
        "entangler": set(ENTANGLERS),
        "entangling_gate": set(ENTANGLING_GATES),
        "readout": set(NAMES),
        "norm": set(NORMS),
        "reuploading": {"True", "False"},
    }
    for name, values in named.items():
        assert values <= seen[name], name
    assert {name for name, values in seen.items() if len(values) < 2} == set()
    controls = {config_of(folder).get("features") for folder in LATEST.iterdir()}
    assert set(FIELDS_OF) <= controls


def test_making_them_gives_what_is_there(tmp_path: Path) -> None:
    from tests.adapters.files.golden.make import make

    for name in CONFIGS:
        make(name, tmp_path / name)
        for file in ("adapter_model.safetensors", "expected.safetensors"):
            made, kept = load_file(tmp_path / name / file), load_file(LATEST / name / file)
            assert made.keys() == kept.keys()
            for key, value in kept.items():
                torch.testing.assert_close(made[key], value, rtol=1e-5, atol=1e-5)
        shutil.rmtree(tmp_path / name)


def test_numbers_are_those_of_the_formula() -> None:
    assert numbers((2,), 1).tolist() == pytest.approx([-0.9899924966, 0.8438539587])


def test_without_its_config_an_adapter_does_not_load(tmp_path: Path) -> None:
    shutil.copy(LATEST / "qaa-rich" / "adapter_model.safetensors", tmp_path)
    shutil.copy(LATEST / "qaa-paper" / "adapter_config.json", tmp_path)
    with pytest.raises(ValueError, match=r"does not in|but lacks"):
        PeftModel.from_pretrained(Base(), str(tmp_path))
    fresh = peft.get_peft_model(Base(), CONFIGS["qaa-rich"]())
    peft.set_peft_model_state_dict(fresh, load_file(tmp_path / "adapter_model.safetensors"))
