"""A trained adapter's circuits, read from its folder, on other people's simulators."""

import json
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest
import torch
from qiskit import transpile
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2
from safetensors.torch import load_file, save_file
from tests.adapters.conftest import VOCABULARY, Architecture, Wrap
from torch import Tensor

from amplitune.adapters.qaa.layer import QAALayer
from amplitune.adapters.qaa.stored_circuit import (
    StoredCircuit,
    chosen_module,
    circuits_of,
    is_adapter_folder,
    stored_circuits,
)
from amplitune.errors import ConfigError
from amplitune.quantum import expectation
from amplitune.quantum.bases import bases_of
from amplitune.quantum.export import qiskit_labels, to_pennylane, to_qiskit, values_from_counts

Q0, V1 = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"
SHOTS = 10_000


def train(model: Any, steps: int = 4) -> None:
    tokens = torch.randint(0, VOCABULARY, (4, 8), generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()


@pytest.fixture
def trained(wrap: Wrap, llama: Architecture, tmp_path: Path) -> Any:
    """A model whose adapter was trained and saved to tmp_path / "adapter"."""
    model = wrap("qaa", llama, rotation="RYRZ", depth=2, readout="Z+ZZ", circuits=2)
    train(model)
    model.save_pretrained(str(tmp_path / "adapter"))
    return model


def layer_input(model: Any, module: str, tokens: Tensor) -> tuple[QAALayer, Tensor]:
    """The layer, and what it is given."""
    layer = model.get_submodule(f"base_model.model.{module}")
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    with torch.no_grad():
        model(input_ids=tokens)
    handle.remove()
    return layer, seen[0]


def test_a_folder_holds_what_the_model_holds(trained: Any, tmp_path: Path) -> None:
    assert is_adapter_folder(tmp_path / "adapter") and not is_adapter_folder(tmp_path)
    read, live = stored_circuits(tmp_path / "adapter"), circuits_of(trained)
    assert len(read) == 4 and list(read) == sorted(live)
    for name, stored in read.items():
        assert stored.module == name and stored.circuit == live[name].circuit
        assert torch.equal(stored.angles, live[name].angles)
        assert torch.equal(stored.up_proj, live[name].up_proj)
        bias = live[name].up_proj_bias
        assert stored.up_proj_bias is not None and bias is not None
        assert torch.equal(stored.up_proj_bias, bias)
        assert stored.scaling == live[name].scaling
    assert read[Q0].circuit.n_qubits == 5 and read[Q0].angles.shape == (2, 2, 2, 5)


def exact_on(device: str, stored: StoredCircuit, x: Tensor) -> Tensor:
    """The values of one row, all circuits, computed by another simulator."""
    values = []
    for angles in stored.angles:
        if device == "aer":
            built = to_qiskit(stored.circuit, angles, x, measured=False)
            ready = transpile(built, basis_gates=["u", "cx"], optimization_level=0)
            result = EstimatorV2().run([(ready, qiskit_labels(stored.circuit))]).result()
            values += list(result[0].data.evs)
        else:
            values += list(to_pennylane(stored.circuit, angles, x, device=device)())
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


@pytest.mark.parametrize("device", ["lightning.qubit", "aer"])
def test_a_trained_adapters_readouts_are_exact_on_a_device(
    trained: Any, tokens: Tensor, tmp_path: Path, device: str
) -> None:
    read = stored_circuits(tmp_path / "adapter")
    compared = 0
    for module in (Q0, V1):
        layer, x = layer_input(trained, module, tokens)
        stored = read[module]
        for row in x.reshape(-1, x.shape[-1])[:3]:
            engine = expectation(row, layer.qaa_angles["default"], stored.circuit).detach()
            found = exact_on(device, stored, row)
            assert (found - engine).abs().max() < 1e-6
            # And through the up-projection, what the layer adds.
            added = layer.branch(row, "default").detach()
            assert (stored.branch(found) - added).abs().max() < 1e-5
            compared += len(found)
    assert compared == 2 * 3 * 2 * 15


@pytest.mark.parametrize("device", ["lightning.qubit", "aer"])
def test_a_trained_adapters_readouts_by_shots(
    trained: Any, tokens: Tensor, tmp_path: Path, device: str
) -> None:
    stored = stored_circuits(tmp_path / "adapter")[Q0]
    layer, x = layer_input(trained, Q0, tokens)
    row = x[0, 0]
    engine = expectation(row.double(), layer.qaa_angles["default"], stored.circuit).detach()
    found: list[Tensor] = []
    for angles in stored.angles:
        if device == "aer":
            simulator = AerSimulator(seed_simulator=7)
            built = [
                to_qiskit(stored.circuit, angles, row, basis=k) for k in range(len(bases_of(stored.circuit)))
            ]
            result = simulator.run(transpile(built, simulator, optimization_level=0), shots=SHOTS).result()
            found.append(
                values_from_counts(stored.circuit, [result.get_counts(k) for k in range(len(built))])
            )
        else:
            made = qml.device(device, wires=5, seed=7)
            values = to_pennylane(stored.circuit, angles, row, device=made, shots=SHOTS)()
            found.append(torch.tensor([float(value) for value in values], dtype=torch.float64))
    errors = (torch.cat(found) - engine).abs()
    assert (errors <= 4 * ((1 - engine**2) / SHOTS).sqrt()).all()
    assert errors.max() > 1e-6


def test_without_a_bias_and_in_half_precision(wrap: Wrap, llama: Architecture, tmp_path: Path) -> None:
    model = wrap("qaa", llama, up_proj_bias=False, scaling=0.5).to(torch.bfloat16)
    model.save_pretrained(str(tmp_path))
    stored = stored_circuits(tmp_path)[Q0]
    assert stored.up_proj_bias is None and stored.scaling == 0.5
    assert stored.angles.dtype == torch.float32
    z = torch.randn(3, 5, dtype=torch.float64)
    assert torch.equal(stored.branch(z), z @ stored.up_proj.double().T * 0.5)


def test_the_module_may_be_named_by_its_end(trained: Any) -> None:
    circuits = circuits_of(trained)
    assert chosen_module(circuits, Q0).module == Q0
    assert chosen_module(circuits, "0.self_attn.q_proj").module == Q0
    assert chosen_module({Q0: circuits[Q0]}, None).module == Q0
    for name, message in {
        None: "is not given. The adapter has 4",
        "q_proj": "the end of 2",
        "k_proj": "but is 'k_proj'",
        "elf_attn.q_proj": "but is 'elf_attn.q_proj'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            chosen_module(circuits, name)


def test_an_adapter_that_the_model_does_not_have(trained: Any, wrap: Wrap, llama: Architecture) -> None:
    with pytest.raises(ConfigError, match="must have 'other' as a QAA adapter, but has 'default'"):
        circuits_of(trained, "other")
    with pytest.raises(ConfigError, match="must have the active adapter as a QAA adapter, but has none"):
        circuits_of(wrap("sora", llama))


def damage(folder: Path, what: str) -> None:
    """Make one thing wrong in an adapter's folder."""
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if what == "no config":
        config.unlink()
    elif what == "no weights":
        weights.unlink()
    elif what == "config not JSON":
        config.write_text("{", encoding="utf-8")
    elif what == "weights not safetensors":
        weights.write_bytes(b"nothing")
    elif what == "no angles":
        save_file({"x": torch.zeros(1)}, weights)
    elif what == "other tensors":
        tensors = load_file(weights)
        tensors["base_model.model.model.layers.0.self_attn.q_proj.qaa_up_proj"] = torch.zeros(4, 3)
        save_file(tensors, weights)
    else:
        changed = {
            "other method": {"peft_type": "LORA"},
            "other depth": {"depth": 3},
            "bad field": {"depth": 0},
        }
        values = json.loads(config.read_text(encoding="utf-8")) | changed[what]
        config.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", "must be the folder of an adapter, but has no adapter_config.json"),
        ("no weights", "must hold adapter_model.safetensors beside adapter_config.json"),
        ("config not JSON", "must be a JSON file"),
        ("weights not safetensors", "must be a safetensors file"),
        ("no angles", "must hold the angles of at least one module"),
        (
            "other tensors",
            r"which asks for angles of shape \(2, 2, 2, 5\) and an up-projection of 30 columns",
        ),
        ("other method", "must be 'QAA', the method that has circuits, but is 'LORA'"),
        ("other depth", r"which asks for angles of shape \(2, 3, 2, 5\)"),
        ("bad field", "`depth` must be an integer of at least 1"),
    ],
)
def test_a_damaged_folder_is_named(trained: Any, tmp_path: Path, what: str, message: str) -> None:
    damage(tmp_path / "adapter", what)
    with pytest.raises(ConfigError, match=message):
        stored_circuits(tmp_path / "adapter")
