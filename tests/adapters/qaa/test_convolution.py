"""QAA around convolutions: a linear layer on patches, its gradients, and what it keeps for them."""

from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.models.bit.modeling_bit import WeightStandardizedConv2d

from amplitune import QAAConfig, count_parameters
from amplitune.adapters.qaa.convolution import QAAConvolution
from amplitune.adapters.qaa.layer import QAALinear
from amplitune.errors import ConfigError, NotMergeableError

BASES: dict[str, tuple[Any, tuple[int, int]]] = {
    "plain": (lambda: nn.Conv2d(2, 5, (2, 3)), (4, 5)),
    "padding": (lambda: nn.Conv2d(2, 5, 3, stride=(2, 1), padding=(1, 2), bias=False), (4, 5)),
    "dilation": (lambda: nn.Conv2d(2, 5, 2, dilation=(2, 1)), (4, 5)),
    "same": (lambda: nn.Conv2d(2, 5, 3, padding="same"), (4, 5)),
    "reflect": (lambda: nn.Conv2d(2, 5, 3, padding=(1, 2), padding_mode="reflect"), (4, 5)),
    "patch embedding": (lambda: nn.Conv2d(3, 5, 2, stride=2), (4, 6)),
}


def layer_around(base: nn.Module, **fields: Any) -> Any:
    options: dict[str, Any] = {"target_modules": ["0"], "init_weights": False, "depth": 2}
    return QAAConvolution(base, "default", QAAConfig(**options | fields), "0")


def linear_twin(layer: Any, base: Any) -> Any:
    """Make the linear layer with the same tensors."""
    linear = nn.Linear(layer.in_features, layer.out_features, bias=base.bias is not None).to(
        base.weight.dtype
    )
    with torch.no_grad():
        linear.weight.copy_(base.weight.flatten(1))
        if base.bias is not None:
            linear.bias.copy_(base.bias)
    config = QAAConfig(target_modules=["0"], depth=2)
    twin = QAALinear(linear, "default", config, "0")
    for name in twin.adapter_layer_names:
        with torch.no_grad():
            getattr(twin, name)["default"].copy_(getattr(layer, name)["default"])
    return twin


def trained(layer: Any) -> list[Tensor]:
    return [getattr(layer, name)["default"] for name in layer.adapter_layer_names]


def unfolded(base: nn.Conv2d, x: Tensor) -> Tensor:
    """Cut patches by torch's own unfold, after padding: (batch, positions, channels * kernel)."""
    mode = "constant" if base.padding_mode == "zeros" else base.padding_mode
    padding: Any = base.padding
    if padding == "same":
        padding = [
            dilation * (size - 1) // 2 for dilation, size in zip(base.dilation, base.kernel_size, strict=True)
        ]
    x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]), mode)
    return functional.unfold(x, base.kernel_size, base.dilation, 0, base.stride).transpose(1, 2)


@pytest.mark.parametrize("name", sorted(BASES))
def test_it_is_the_linear_layer_on_patches(name: str) -> None:
    make, size = BASES[name]
    base = make().double()
    layer = layer_around(base)
    twin = linear_twin(layer, base)
    x = torch.randn(3, base.in_channels, *size, dtype=torch.float64, requires_grad=True)
    found = layer(x)
    assert found.shape == base(x).shape
    expected = twin(unfolded(base, x)).transpose(1, 2).reshape(found.shape)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(layer(x[0]), expected[0])
    torch.testing.assert_close(layer.branch(x, "default"), expected - base(x))
    direction = torch.randn_like(found)
    gradients = torch.autograd.grad(found, [x, *trained(layer)], direction)
    references = torch.autograd.grad(expected, [x, *trained(twin)], direction)
    for gradient, reference in zip(gradients, references, strict=True):
        assert reference.abs().max() > 1e-6
        torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_1x1_convolution_is_the_linear_layer(kind: type[Any]) -> None:
    base = kind(6, 5, 1).double()
    layer = layer_around(base)
    assert layer.in_features == 6
    x = torch.randn(2, 6, *(2, 3, 4)[: len(base.kernel_size)], dtype=torch.float64)
    torch.testing.assert_close(layer(x), linear_twin(layer, base)(x.movedim(1, -1)).movedim(-1, 1))


def test_one_and_three_dimensions_are_those_of_two() -> None:
    flat = nn.Conv1d(2, 5, 3, stride=2, padding=1, dilation=2).double()
    plane = nn.Conv2d(2, 5, (1, 3), stride=(1, 2), padding=(0, 1), dilation=(1, 2)).double()
    solid = nn.Conv3d(2, 5, (1, 3, 1), stride=(1, 2, 1), padding=(0, 1, 0), dilation=(1, 2, 1)).double()
    layers = [layer_around(base) for base in (flat, plane, solid)]
    bases: list[Any] = [flat, plane, solid]
    with torch.no_grad():
        for layer, base in zip(layers[1:], bases[1:], strict=True):
            base.weight.copy_(flat.weight.view_as(base.weight))
            base.bias.copy_(bases[0].bias)
            for mine, first in zip(trained(layer), trained(layers[0]), strict=True):
                mine.copy_(first)
    x = torch.randn(3, 2, 9, dtype=torch.float64)
    expected = layers[0](x)
    torch.testing.assert_close(layers[1](x[:, :, None])[:, :, 0], expected)
    torch.testing.assert_close(layers[2](x[:, :, None, :, None])[:, :, 0, :, 0], expected)


def test_gradients_against_finite_differences() -> None:
    layer = layer_around(nn.Conv2d(1, 2, 2, padding=1, padding_mode="circular").double(), depth=1)
    x = torch.randn(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda x: layer(x), (x,))
    for parameter in trained(layer):
        assert torch.autograd.gradcheck(lambda _: layer(x.detach()), (parameter,))


def patches_of(layer: Any) -> list[StorageWeakRef]:
    """Watch the patches that a layer cuts out from now on."""
    cut, made = layer.patches, []

    def watched(x: Tensor) -> Tensor:
        patches: Tensor = cut(x)
        made.append(StorageWeakRef(patches.untyped_storage()))
        return patches

    layer.patches = watched
    return made


def test_the_input_is_kept_and_not_its_patches() -> None:
    layer = layer_around(nn.Conv2d(4, 8, 3, padding=1))
    made = patches_of(layer)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    out = layer(x)
    assert [patches.expired() for patches in made] == [True]
    out.sum().backward()
    assert [patches.expired() for patches in made] == [True, True]


def test_checkpointing_keeps_neither() -> None:
    layer = layer_around(nn.Conv2d(4, 4, 3, padding=1))
    made = patches_of(layer)
    inputs: list[StorageWeakRef] = []

    def run(x: Tensor) -> Tensor:
        x = 2 * x
        inputs.append(StorageWeakRef(x.untyped_storage()))
        return layer(x)

    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    out = checkpoint(run, x, use_reentrant=False)
    assert [kept.expired() for kept in [*made, *inputs]] == [True, True]
    found = torch.autograd.grad(out.sin().sum(), [x, *trained(layer)])
    torch.testing.assert_close(found, torch.autograd.grad(run(x).sin().sum(), [x, *trained(layer)]))


def test_an_input_changed_in_place_is_an_error_in_the_backward_pass() -> None:
    layer = layer_around(nn.Conv2d(1, 2, 2))
    x = torch.randn(1, 1, 3, 3)
    out = layer(x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place before the backward pass"):
        out.sum().backward()


def test_transforms_of_torch_func() -> None:
    layer = layer_around(nn.Conv2d(2, 3, 2).double())
    x = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(torch.func.vmap(layer)(x.detach()), layer(x))
    gradient = torch.func.grad(lambda x: layer(x).sin().sum())(x.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(layer(x).sin().sum(), x)[0])


def test_unusual_inputs() -> None:
    layer = layer_around(nn.Conv2d(2, 3, 2))
    x = torch.randn(2, 2, 3, 3)
    expected = layer(x)
    assert layer(x[:0]).shape == (0, 3, 2, 2)
    last = layer(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected)
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(x[:1].expand(2, -1, -1, -1)), expected[:1].expand(2, -1, -1, -1))
    x[0, 0, 0, 0] = torch.nan
    found = layer(x)
    assert found[0, :, 0, 0].isnan().all()
    found[0, :, 0, 0] = expected[0, :, 0, 0]
    torch.testing.assert_close(found, expected)


def test_patches_of_zeros_have_values_of_zero() -> None:
    layer = layer_around(nn.Conv2d(1, 3, 2, stride=2, bias=False), up_proj_bias=False)
    x = torch.zeros(1, 1, 2, 4, requires_grad=True)
    with torch.no_grad():
        x[..., 2:] = torch.randn(2, 2)
    out = layer(x)
    assert not out[..., 0].any()
    assert out[..., 1].all()
    out.sum().backward()
    assert x.grad is not None
    assert not x.grad[..., :2].isnan().any()


def test_a_linear_readout_merges_into_the_kernel() -> None:
    base = nn.Conv2d(2, 5, 3, padding=1, stride=2, padding_mode="replicate").double()
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    config = QAAConfig(
        target_modules=["0"], init_weights=False, readout="interferometric", norm="restore", rotation="Rot"
    )
    model: Any = get_peft_model(nn.Sequential(base), config).eval()
    adapted = model(x)
    model.merge_adapter()
    torch.testing.assert_close(base(x), adapted)
    model.unmerge_adapter()
    torch.testing.assert_close(model(x), adapted)
    plain: Any = get_peft_model(nn.Sequential(nn.Conv2d(2, 5, 3)), QAAConfig(target_modules=["0"]))
    with pytest.raises(NotMergeableError):
        plain.merge_adapter()


def test_a_half_precision_model_and_the_count() -> None:
    net: Any = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1)).to(torch.bfloat16)
    model = get_peft_model(net, QAAConfig(target_modules=["0"]))
    x = torch.randn(2, 3, 5, 5, dtype=torch.bfloat16, requires_grad=True)
    out = model(x)
    assert torch.equal(out, net[0].get_base_layer()(x))
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    counted = count_parameters(model)
    # 27 numbers in a patch: 5 qubits.
    assert (counted.angles, counted.classical, counted.total) == (5, 5 * 8 + 8, 27 * 8 + 8)


def test_it_compiles_without_a_graph_break() -> None:
    layer = layer_around(nn.Conv2d(2, 3, 2, padding=1))
    x = torch.randn(2, 2, 3, 3, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    expected, found = layer(x), compiled(x)
    torch.testing.assert_close(found, expected)
    references = torch.autograd.grad(expected.sin().sum(), [x, *trained(layer)])
    gradients = torch.autograd.grad(found.sin().sum(), [x, *trained(layer)])
    torch.testing.assert_close(gradients, references)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), r"`target_modules` must name convolutions with groups=1.*SoRAConfig"),
        (WeightStandardizedConv2d(4, 6, 3), "0 is a WeightStandardizedConv2d with a `forward` of its own"),
        (nn.ConvTranspose2d(4, 6, 3), "but 0 is ConvTranspose2d"),
        (nn.LayerNorm(4), "but 0 is LayerNorm"),
    ],
    ids=["groups", "own forward", "transposed", "norm"],
)
def test_what_is_refused(base: nn.Module, message: str) -> None:
    net = nn.Sequential(base)
    with pytest.raises(ConfigError, match=message):
        get_peft_model(net, QAAConfig(target_modules=["0"]))
    assert net[0] is base
