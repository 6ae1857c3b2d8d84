"""QAA's layer: its formula against dense matrices, its qubits, and why it cannot be merged."""

from typing import Any

import peft
import pytest
import torch
from tests.adapters.conftest import Architecture, Wrap
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from amplitune import QAAConfig
from amplitune.adapters.qaa.layer import QAALinear
from amplitune.errors import ConfigError, NotMergeableError
from amplitune.quantum import NoiseModel, measured


def dense_expectation(x: Tensor, angles: Tensor) -> Tensor:
    """The paper's circuit at depth 1 with Kronecker products and CNOT matrices, one row at a time."""
    n = angles.shape[-1]
    unitary = torch.ones(1, 1, dtype=torch.float64)
    for angle in angles.flatten():
        c, s = torch.cos(angle / 2), torch.sin(angle / 2)
        unitary = torch.kron(unitary, torch.stack([torch.stack([c, -s]), torch.stack([s, c])]))
    for control in range(n):
        target = (control + 1) % n
        permutation = torch.zeros(2**n, 2**n, dtype=torch.float64)
        for state in range(2**n):
            flipped = state ^ (1 << (n - 1 - target)) if state >> (n - 1 - control) & 1 else state
            permutation[flipped, state] = 1
        unitary = permutation @ unitary
    amplitudes = nn.functional.pad(x, (0, 2**n - x.shape[-1]))
    psi = (amplitudes / amplitudes.norm(dim=-1, keepdim=True)) @ unitary.T
    bits = torch.tensor([[state >> (n - 1 - wire) & 1 for wire in range(n)] for state in range(2**n)])
    return (psi**2) @ (1 - 2 * bits).double()


@pytest.mark.parametrize("base", [nn.Linear(6, 4), Conv1D(4, 6)], ids=["Linear", "Conv1D"])
def test_the_layer_computes_its_formula(base: nn.Module) -> None:
    config = QAAConfig(target_modules=["0"], init_weights=False, scaling=0.7)
    base = base.double()
    layer = QAALinear(base, "default", config, "0")
    x = torch.randn(5, 6, dtype=torch.float64)
    angles, up_proj = layer.qaa_angles["default"], layer.qaa_up_proj["default"]
    assert angles.shape == (1, 1, 1, 3)
    assert angles.dtype == torch.float64
    z = dense_expectation(x, angles)
    expected = base(x) + 0.7 * (z @ up_proj.T + layer.qaa_up_proj_bias["default"])
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


def test_without_a_bias() -> None:
    config = QAAConfig(target_modules=["0"], init_weights=False, up_proj_bias=False)
    layer = QAALinear(nn.Linear(6, 4), "default", config, "0")
    assert list(layer.qaa_up_proj_bias) == []
    assert torch.equal(layer(torch.zeros(1, 6)), layer.base_layer(torch.zeros(1, 6)))


def test_angles_start_over_one_period_of_a_rotation() -> None:
    config = QAAConfig(target_modules=["0"], depth=400)
    angles = QAALinear(nn.Linear(8, 2), "default", config, "0").qaa_angles["default"]
    assert -torch.pi <= angles.min() < -3
    assert 3 < angles.max() < torch.pi
    assert angles.mean().abs() < 0.2


@pytest.mark.parametrize("target_modules", [["q_proj"], "all-linear"])
def test_too_few_qubits_name_the_module_and_the_number(
    llama: Architecture, wrap: Wrap, target_modules: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        wrap("qaa", llama, n_qubits=4, target_modules=target_modules)
    assert str(caught.value) == (
        "`n_qubits` must be at least ceil(log2(d_in)) = 5 for model.layers.0.self_attn.q_proj, but is 4.\n"
        "Leave it unset, or set n_qubits: 5."
    )


def test_more_qubits_than_needed(llama: Architecture, wrap: Wrap, tokens: Tensor) -> None:
    model = wrap("qaa", llama, n_qubits=7)
    layers = [module for module in model.modules() if isinstance(module, QAALinear)]
    assert [layer.qaa_angles["default"].shape for layer in layers] == [(1, 1, 1, 7)] * 4
    assert torch.isfinite(model(tokens).logits).all()


def test_merging_raises_with_the_reason_and_changes_nothing(
    architecture: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model: Any = wrap("qaa", architecture)
    before = model(tokens).logits
    layer = next(module for module in model.modules() if isinstance(module, QAALinear))
    attempts = [
        model.merge_and_unload,
        model.merge_adapter,
        lambda: model.merge_and_unload(safe_merge=True),
        layer.merge,
        lambda: layer.get_delta_weight("default"),
    ]
    for attempt in attempts:
        with pytest.raises(NotMergeableError, match=r"quadratic in the input.*Keep the adapter.*SoRAConfig"):
            attempt()
    assert len(attempts) == 5
    assert torch.equal(model(tokens).logits, before)


def test_a_refused_merge_unloads_nothing(llama: Architecture, wrap: Wrap) -> None:
    # The embeddings come before the first adapter, so peft would have unloaded them by then.
    model: Any = wrap("qaa", llama, modules_to_save=["embed_tokens"])
    before = list(model.state_dict())
    with pytest.raises(NotMergeableError):
        model.merge_and_unload()
    assert list(model.state_dict()) == before


def test_a_row_of_zeros_and_a_row_of_nan_stay_by_themselves(llama: Architecture, wrap: Wrap) -> None:
    layer = next(module for module in wrap("qaa", llama).modules() if isinstance(module, QAALinear))
    x = torch.randn(4, 24)
    x[1] = 0
    x[2, 5] = torch.nan
    x.requires_grad_()
    y = layer(x)
    assert torch.isfinite(y[[0, 1, 3]]).all()
    assert torch.isnan(y[2]).all()
    layer(x[[0, 1, 3]]).sum().backward()
    for name in layer.adapter_layer_names:
        assert torch.isfinite(getattr(layer, name)["default"].grad).all(), name


def test_half_precision_input_is_upcast_in_the_circuit() -> None:
    net = nn.Sequential(nn.Linear(24, 6)).to(torch.float16)
    model = peft.get_peft_model(net, QAAConfig(target_modules=["0"], init_weights=False))
    layer: Any = net[0]
    x = torch.full((2, 24), 60000.0, dtype=torch.float16)
    branch = layer.branch(x, "default")
    assert branch.dtype == torch.float32
    torch.testing.assert_close(branch, layer.branch(torch.ones(2, 24), "default"))
    assert model(x * 0).dtype == torch.float16


def test_a_trained_adapter_is_evaluated_by_shots_and_under_noise(
    llama: Architecture, wrap: Wrap, tokens: Tensor
) -> None:
    model = wrap("qaa", llama, init_weights=False).eval()

    def logits() -> Tensor:
        with torch.no_grad():
            return model(tokens).logits

    exact = logits()
    with measured(shots=100, generator=torch.Generator().manual_seed(0)):
        few = logits()
    with measured(shots=100, generator=torch.Generator().manual_seed(0)):
        assert torch.equal(logits(), few)
    with measured(shots=100_000, generator=torch.Generator().manual_seed(0)):
        many = logits()
    with measured(noise=NoiseModel(depolarizing=0.05)):
        noisy = logits()
    with measured(noise=NoiseModel()):
        torch.testing.assert_close(logits(), exact, rtol=0, atol=1e-5)
    assert 0 < (many - exact).abs().mean() < (few - exact).abs().mean() / 5
    assert (noisy - exact).abs().max() > 1e-4
    assert torch.equal(logits(), exact)
