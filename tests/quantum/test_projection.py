"""The projected sum against its formula: values, gradients, dtypes, what is kept, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, expectation, project
from amplitune.quantum.projection import project_op, project_values

CIRCUITS = [
    Circuit(4),
    Circuit(4, Ansatz("RY", "ring", 3), "Z+ZZ"),
    Circuit(4, Ansatz("RYRZ", "linear", 2), "XYZ", "restore"),
    Circuit(4, Ansatz("RY", "ring"), "interferometric"),
]


def run(*inputs: Tensor) -> Tensor:
    base, x, angles, weight, bias = inputs
    return project(base, x, angles, weight, bias, CIRCUITS[0], 0.7)


def arguments(
    circuit: Circuit, dtype: torch.dtype = torch.float64, circuits: int = 2
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(8)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    return (
        randn(2, 3, 5),
        randn(2, 3, 13),
        randn(*circuit.angle_shape(circuits)),
        randn(5, circuits * circuit.n_observables),
        randn(5),
    )


@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_equal_the_formula(circuit: Circuit, with_bias: bool) -> None:
    base, x, angles, weight, bias = arguments(circuit)
    found = project(base, x, angles, weight, bias if with_bias else None, circuit, 0.7)
    z = expectation(x, angles, circuit)
    expected = base + 0.7 * (z @ weight.T + (bias if with_bias else 0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    inputs = (base, x, angles, weight, *((bias,) if with_bias else ()))
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weights).sum(), inputs)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-13)


def test_second_derivatives_equal_finite_differences() -> None:
    circuit = Circuit(4)
    inputs = [
        tensor.detach()[:1] if tensor.ndim == 3 else tensor for tensor in arguments(circuit, circuits=1)
    ]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_torch_library_finds_no_fault() -> None:
    circuit = Circuit(4)
    base, x, angles, weight, bias = arguments(circuit)
    rows = (base.detach().flatten(0, 1), x.detach().flatten(0, 1), angles[:, :, 0].detach(), weight.detach())
    for b in (bias.detach(), None):
        torch.library.opcheck(project_op, (*rows, b, circuit.key, 0.7))


def test_torch_compile_traces_one_graph() -> None:
    circuit = Circuit(4)
    inputs = arguments(circuit)
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=False)
    found, expected = compiled(*inputs), run(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(found.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_bases_keep_their_dtype_and_sum_in_single(dtype: torch.dtype) -> None:
    circuit = Circuit(4)
    base, x, angles, weight, bias = arguments(circuit, torch.float32)
    base, x = base.detach().to(dtype).requires_grad_(), x.detach().to(dtype).requires_grad_()
    found = project(base, x, angles, weight, bias, circuit, 0.7)
    z = expectation(x, angles, circuit)
    assert z.dtype == torch.float32
    expected = (base.float() + 0.7 * (z @ weight.T + bias)).to(dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=2e-3 if dtype == torch.float16 else 1e-2, atol=1e-6)
    gradients = torch.autograd.grad(found.float().sum(), (base, x, angles, weight, bias))
    assert [gradient.dtype for gradient in gradients] == [dtype, dtype, *(torch.float32,) * 3]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(project(base, x, angles, weight, bias, circuit, 0.7), found)


def test_zero_weights_change_nothing_bit_for_bit() -> None:
    circuit = Circuit(4)
    base, x, angles, weight, bias = arguments(circuit, torch.float32)
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        out = project(base.to(dtype), x, angles, torch.zeros_like(weight), torch.zeros_like(bias), circuit)
        assert torch.equal(out, base.to(dtype))


@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
def test_nothing_is_kept_but_x_and_what_does_not_grow_with_the_tokens(circuit: Circuit) -> None:
    def kept(tokens: int) -> int:
        base, x, angles, weight, bias = arguments(circuit)
        x = torch.randn(tokens, 13, dtype=torch.float64, requires_grad=True)
        storages: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        base = torch.randn(tokens, 5, dtype=torch.float64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            project(base, x, angles, weight, bias, circuit)
        assert x.untyped_storage().data_ptr() in storages
        return sum(storages.values())

    assert kept(tokens=50) - kept(tokens=30) == 20 * 13 * 8


@pytest.mark.parametrize("name", ["base", "weight", "bias"])
def test_a_wrong_shape_is_named(name: str) -> None:
    circuit = Circuit(4)
    base, x, angles, weight, bias = arguments(circuit)
    given = {"base": base, "weight": weight, "bias": bias}
    given[name] = given[name][1:] if name != "weight" else weight[:, 1:]
    with pytest.raises(ConfigError, match=rf"`{name}` must have the shape"):
        project(given["base"], x, angles, given["weight"], given["bias"], circuit)


@pytest.mark.parametrize("name", ["base", "weight", "bias"])
@pytest.mark.parametrize(
    ("to", "message"),
    [
        (torch.int64, "must have a float dtype, but has torch.int64"),
        (torch.complex128, "must have a float dtype, but has torch.complex128"),
        ("meta", "must be on the device of `[xz]`, cpu, but is on meta"),
    ],
)
@pytest.mark.parametrize("tokens", [1, 6])
def test_what_is_no_float_or_lies_elsewhere_is_named(name: str, to: Any, message: str, tokens: int) -> None:
    circuit = Circuit(4)
    base, x, angles, weight, bias = (tensor.detach() for tensor in arguments(circuit))
    base, x = base.flatten(0, 1)[:tokens], x.flatten(0, 1)[:tokens]
    given: dict[str, Any] = {"base": base, "weight": weight, "bias": bias}
    given[name] = given[name].to(to)
    with pytest.raises(ConfigError, match=f"`{name}` {message}"):
        project(x=x, angles=angles, circuit=circuit, **given)
    with pytest.raises(ConfigError, match=f"`{name}` {message}"):
        project_values(z=expectation(x, angles, circuit), circuit=circuit, **given)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("place", range(5))
def test_forward_mode_differentiation_is_refused_rather_than_its_tangent_dropped(
    place: int, grad: bool
) -> None:
    circuit = Circuit(4)
    inputs = [tensor.detach() for tensor in arguments(circuit)]
    values = [inputs[0], expectation(inputs[1], inputs[2], circuit), *inputs[3:]]

    def of_values(base: Tensor, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return project_values(base, z, weight, bias, circuit, 0.7)

    with forward_ad.dual_level(), torch.set_grad_enabled(grad):
        expected = run(*inputs)
        inputs[place] = forward_ad.make_dual(inputs[place], torch.ones_like(inputs[place]))
        with pytest.raises(NotImplementedError, match="jvp"):
            run(*inputs)
        if place in (1, 2):
            with pytest.raises(NotImplementedError, match="jvp"):
                expectation(inputs[1], inputs[2], circuit)
        dual = min(place, 1) if place < 3 else place - 1
        assert torch.allclose(of_values(*values), expected)
        values[dual] = forward_ad.make_dual(values[dual], torch.ones_like(values[dual]))
        with pytest.raises(NotImplementedError, match="jvp"):
            of_values(*values)


def test_torch_compile_traces_one_graph_without_gradients() -> None:
    inputs = [tensor.detach() for tensor in arguments(Circuit(4))]
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), run(*inputs), rtol=0, atol=1e-14)
