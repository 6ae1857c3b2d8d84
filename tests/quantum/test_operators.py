"""The operators under torch's machinery: torch.library, compile, vmap, fake tensors, second derivatives."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from amplitune.quantum import Ansatz, Circuit, expectation
from amplitune.quantum.kernels.dispatch import kernel
from amplitune.quantum.operators import backward_op, differentiable, expectation_op, operator_parameters

CIRCUITS = {
    "real": Circuit(3, Ansatz("RY", "ring", depth=2)),
    "complex": Circuit(3, Ansatz("Rot", "linear", 2, "CZ", "RY"), "XYZ"),
    "norm": Circuit(3, Ansatz("RYRZ", "ring"), "Z+ZZ", "restore"),
    "reuploading": Circuit(3, Ansatz("RYRZ", "ring", 2, reuploading=True), ("X0", "Y1 Z2")),
    "interferometric": Circuit(3, Ansatz("RYRZ", "ring"), "interferometric"),
    "interferometric norm": Circuit(3, Ansatz("RY", "ring"), "interferometric", "restore"),
    "probabilities": Circuit(3, Ansatz("RY", "ring", 2), "probabilities", "restore"),
}


def arguments(circuit: Circuit, rows: int = 3, circuits: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(rows, 7, generator=generator, dtype=torch.float64)
    angles = torch.randn(circuit.angle_shape(circuits), generator=generator, dtype=torch.float64)
    return x, angles


@pytest.mark.parametrize("name", CIRCUITS)
def test_torch_library_finds_no_fault(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit)
    parameters = operator_parameters(x, angles, circuit)
    z = expectation_op(x, parameters, circuit.key)
    inputs = (x, parameters, circuit.key)
    torch.library.opcheck(expectation_op, inputs)
    grad = torch.ones_like(z)
    for needs_x in (True, False):
        torch.library.opcheck(backward_op, (grad, *inputs, needs_x))


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_operator_equals_plain_autograd(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit)
    x.requires_grad_(), angles.requires_grad_()
    weights = torch.randn(3, 2 * circuit.n_observables, dtype=torch.float64)
    found = expectation(x, angles, circuit)
    expected = differentiable(x, operator_parameters(x, angles, circuit), circuit.key)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    gradients = torch.autograd.grad((found * weights).sum(), (x, angles))
    expected_gradients = torch.autograd.grad((expected * weights).sum(), (x, angles))
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CIRCUITS)
def test_first_and_second_derivatives_equal_finite_differences(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit, rows=2, circuits=1)
    x.requires_grad_(), angles.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, angles: expectation(x, angles, circuit), (x, angles))
    assert torch.autograd.gradgradcheck(lambda x, angles: expectation(x, angles, circuit), (x, angles))


@pytest.mark.parametrize("name", CIRCUITS)
def test_third_derivatives_exist(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit, rows=1, circuits=1)
    angles.requires_grad_()

    def run(angles: Tensor) -> Tensor:
        return expectation(x, angles, circuit).sum()

    (first,) = torch.autograd.grad(run(angles), angles, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), angles, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), angles)
    # Along the direction of ones: the derivative of the second one by central differences.
    step = 1e-5

    def curvature(angles: Tensor) -> Tensor:
        moved = angles.detach().requires_grad_()
        (slope,) = torch.autograd.grad(run(moved), moved, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), moved)
        return curve.sum()

    expected = (curvature(angles + step) - curvature(angles - step)) / (2 * step)
    torch.testing.assert_close(third.sum(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CIRCUITS)
def test_torch_compile_traces_one_graph_forward_and_backward(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit)
    x.requires_grad_(), angles.requires_grad_()

    def run(x: Tensor, angles: Tensor) -> Tensor:
        return expectation(x, angles, circuit).square()

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True, dynamic=False)
    found, expected = compiled(x, angles), run(x, angles)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    gradients = torch.autograd.grad(found.sum(), (x, angles))
    expected_gradients = torch.autograd.grad(expected.sum(), (x, angles))
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CIRCUITS)
def test_vmap_over_inputs_over_angles_and_over_both(name: str) -> None:
    circuit = CIRCUITS[name]
    x, _ = arguments(circuit, rows=4)
    some = torch.randn(4, *circuit.angle_shape(), dtype=torch.float64)

    def run(row: Tensor, angles: Tensor) -> Tensor:
        return expectation(row, angles, circuit)

    for in_dims in ((0, None), (None, 0), (0, 0)):
        rows = x if in_dims[0] == 0 else x[0].expand(4, -1)
        angles = some if in_dims[1] == 0 else some[0].expand_as(some)
        found = torch.func.vmap(run, in_dims)(
            x if in_dims[0] == 0 else x[0], some if in_dims[1] == 0 else some[0]
        )
        expected = torch.stack([run(row, one) for row, one in zip(rows, angles, strict=True)])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CIRCUITS)
def test_per_sample_gradients_by_vmap_of_grad(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit, rows=4)

    def loss(angles: Tensor, row: Tensor) -> Tensor:
        return expectation(row, angles, circuit).square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(angles, x)
    for row, gradient in zip(x, found, strict=True):
        leaf = angles.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(leaf, row), leaf)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CIRCUITS)
def test_fake_tensors_have_the_shapes_and_dtypes_of_real_ones(name: str) -> None:
    circuit = CIRCUITS[name]
    x, angles = arguments(circuit)
    for dtype in (torch.bfloat16, torch.float64):
        real = expectation(x.to(dtype), angles.to(dtype), circuit)
        mode = FakeTensorMode()
        fakes = [mode.from_tensor(tensor.to(dtype)).requires_grad_() for tensor in (x, angles)]
        with mode:
            fake = expectation(fakes[0], fakes[1], circuit)
            fake.sum().backward()
            assert all(tensor.grad is not None for tensor in fakes)
        assert (fake.shape, fake.dtype) == (real.shape, real.dtype)


def test_a_second_derivative_does_not_depend_on_the_kernel_of_the_first() -> None:
    circuit = CIRCUITS["real"]
    x, angles = arguments(circuit)

    def hessian() -> Tensor:
        run = lambda angles: expectation(x, angles, circuit).square().sum()  # noqa: E731
        return torch.autograd.functional.hessian(run, angles)

    with kernel("torch"):
        expected = hessian()
    torch.testing.assert_close(hessian(), expected, rtol=0, atol=1e-12)
