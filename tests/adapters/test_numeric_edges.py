"""Linear layers with an adapter where numbers end: no number, zeros, near overflow, subnormal, outliers.

Rows of a batch are independent of each other, so rows are compared bit for bit with those of a run that has
no edge in it.
"""

import pytest
import torch
from tests.adapters.edge_cases import DTYPES, EACH_CASE, Case, branch, layer_of, rows, run, trained
from tests.quantum.kernels.native_cases import needs_compiler
from torch import Tensor, nn

from amplitune import SoRAConfig
from amplitune.quantum import Circuit, expectation
from amplitune.quantum.kernels.dispatch import kernel

NAN, INF = float("nan"), float("inf")


@EACH_CASE
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_row_that_is_no_number_spoils_no_other(case: Case, bad: float) -> None:
    others = [0, 1, 3, 4]
    for dtype in DTYPES:
        layer, x = layer_of(case, dtype=dtype), rows(dtype=dtype)
        spoilt = x.clone()
        spoilt[2, 3] = bad
        with case.running():
            y, dx = run(layer, x)
            spoilt_y, spoilt_dx = run(layer, spoilt)
            assert not branch(layer, spoilt)[2].isfinite().any()
        assert torch.equal(spoilt_y[others], y[others])
        assert torch.equal(spoilt_dx[others], dx[others])
        assert not spoilt_y[2].isfinite().any()
        assert spoilt_y[2].isnan().all() or bad in (INF, -INF)


@EACH_CASE
def test_rows_of_zeros_get_the_bias_alone(case: Case) -> None:
    for dtype in DTYPES:
        layer, x = layer_of(case, dtype=dtype), rows(dtype=dtype)
        zeros = x.clone()
        zeros[2], zeros[4] = 0.0, -0.0
        with case.running():
            y, dx = run(layer, x)
            zero_y, zero_dx = run(layer, zeros)
            added = branch(layer, zeros)
            grads = torch.autograd.grad(layer(zeros).double().square().sum(), list(trained(layer).values()))
        assert torch.equal(zero_y[[0, 1, 3]], y[[0, 1, 3]])
        assert torch.equal(zero_dx[[0, 1, 3]], dx[[0, 1, 3]])
        bias = [value.detach() for name, value in trained(layer).items() if "up_proj_bias" in name]
        expected = bias[0] if bias else torch.zeros_like(added[0])
        torch.testing.assert_close(added[[2, 4]], expected.expand(2, 7), rtol=1e-6, atol=1e-7)
        assert torch.equal(zero_y[2], zero_y[4])
        assert zero_dx.isfinite().all()
        if case.scale_free:
            # A row of zeros has no state: only the base layer passes a gradient on.
            passed = 2 * zero_y[2].double() @ layer.base_layer.weight.double()
            torch.testing.assert_close(zero_dx[2].double(), passed, rtol=2e-2, atol=2e-2)
        assert all(grad.isfinite().all() for grad in grads)


@EACH_CASE
def test_the_sign_of_zero_changes_nothing(case: Case) -> None:
    x = rows()
    x[:, ::3] = 0.0
    negative = x.clone()
    negative[:, ::3] = -0.0
    with case.running():
        first, second = run(layer_of(case), x), run(layer_of(case), negative)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@EACH_CASE
def test_without_gradients_the_values_are_the_same(case: Case) -> None:
    for dtype in DTYPES:
        layer, edges = layer_of(case, dtype=dtype), rows(7, dtype=dtype)
        edges[1], edges[2], edges[4, 3] = 0.0, sized("subnormal", rows(1), dtype)[0], NAN
        edges[3] = sized("one large channel", rows(1), dtype)[0]
        # Also few rows at a time, as generation has them; each kind of row alone.
        for x in (edges, *edges.split(1), *edges.unbind(), edges[:0], edges[2:5], edges.T.contiguous().T):
            with case.running():
                y = layer(x.detach().requires_grad_()).detach()
                with torch.no_grad():
                    torch.testing.assert_close(layer(x), y, equal_nan=True)


# Sizes of numbers -------------------------------------------------------------------------------------------

SIZES = ("near overflow", "subnormal", "outlier channels", "sizes mixed", "one large channel")


def sized(name: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows of an extreme size that the dtype can hold."""
    x = x.clone()
    if name == "near overflow":
        x = x / x.abs().amax(-1, keepdim=True) * (6e4 if dtype == torch.float16 else 3e38)
    elif name == "subnormal":
        x = x * (6e-8 if dtype == torch.float16 else 1e-40)
    elif name == "outlier channels":
        x[:, [3, 7]] *= 1000
    elif name == "sizes mixed":
        x *= torch.logspace(-3, 3, len(x))[:, None]
    elif name == "one large channel":
        x[:, 5] = 6e4
    return x.to(dtype)


def digits(case: Case, size: str, dtype: torch.dtype) -> float | None:
    """The relative error allowed; None where what is computed has no place in float32."""
    if case.scale_free or dtype == torch.float16 or size not in ("near overflow", "subnormal"):
        return 2e-5
    # What grows with the input leaves float32 at its upper end, and at its lower has as few digits as it.
    return None if size == "near overflow" else 5e-3


@EACH_CASE
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_keep_their_digits(case: Case, size: str) -> None:
    layer, exact = layer_of(case), layer_of(case, dtype=torch.float64)
    visited = 0
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        allowed = digits(case, size, dtype)
        if allowed is None:
            continue
        x = sized(size, rows(16), dtype)
        with case.running():
            made, grads = _values_and_gradients(layer, x)
            expected, exact_grads = _values_and_gradients(exact, x.double())
        assert made.dtype == torch.float32
        assert made.isfinite().all()
        error = (made.double() - expected).abs().amax(-1) / expected.abs().amax(-1)
        assert float(error.max()) < allowed
        for name, grad in grads.items():
            _assert_same_gradient(name, grad, exact_grads[name], allowed)
        visited += 1
    assert visited >= 1


def _values_and_gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    x = x.detach().requires_grad_()
    y = layer.branch(x, "default")  # type: ignore[operator]
    parameters = trained(layer)
    grads = torch.autograd.grad(y.sum(), (x, *parameters.values()))
    return y.detach(), dict(zip(["x", *parameters], grads, strict=True))


def _assert_same_gradient(name: str, grad: Tensor, expected: Tensor, allowed: float) -> None:
    """The same up to an error relative to the row or, for a parameter, to the tensor.

    The gradient by a row of subnormal numbers can be larger than every number of its dtype: then infinite.
    """
    assert not grad.isnan().any(), name
    limits = torch.finfo(grad.dtype)
    inside = expected.abs() < limits.max * 0.99
    assert (grad.isfinite() | ~inside).all(), name
    largest = expected.abs().amax(-1, keepdim=True) if name == "x" else expected.abs().amax()
    error = max(allowed, 2 * limits.eps) * largest + limits.smallest_normal
    assert ((grad.double() - expected).abs() <= error)[inside].all(), name


@pytest.mark.parametrize("width", [24, 768, 2048])
@pytest.mark.parametrize("name", [pytest.param("native", marks=needs_compiler), "torch"])
def test_values_agree_with_gates_in_float64(width: int, name: str) -> None:
    circuit = Circuit((width - 1).bit_length())
    angles = torch.randn(circuit.angle_shape(), generator=torch.Generator().manual_seed(0))
    for size in SIZES:
        x = sized(size, rows(8, width), torch.float32)
        with kernel(name):
            made = expectation(x, angles, circuit)
        assert float((made.double() - _by_gates(x, angles)).abs().max()) < 5e-6


def _by_gates(x: Tensor, angles: Tensor) -> Tensor:
    """The paper's circuit in float64, gate by gate: <Z> of each wire."""
    n = angles.shape[-1]
    state = nn.functional.pad(x.double() / x.double().abs().amax(-1, keepdim=True), (0, 2**n - x.shape[-1]))
    state = (state / state.norm(dim=-1, keepdim=True)).reshape(-1, *[2] * n)
    for wire, angle in enumerate(angles.double().flatten()):
        c, s = torch.cos(angle / 2), torch.sin(angle / 2)
        zero, one = state.unbind(wire + 1)
        state = torch.stack((c * zero - s * one, s * zero + c * one), dim=wire + 1)
    for wire in range(n):
        off, on = state.unbind(wire + 1)
        target = (wire + 1) % n
        # Without the axis of the control, the later axes are one to the left.
        state = torch.stack((off, on.flip(target + 1 if target < wire else target)), dim=wire + 1)
    ones = [state.square().select(wire + 1, 1).flatten(1).sum(-1) for wire in range(n)]
    return 1 - 2 * torch.stack(ones, dim=-1)


@EACH_CASE
def test_a_huge_scaling_is_only_a_factor(case: Case) -> None:
    name, unit = ("lora_alpha", 8.0) if case.make is SoRAConfig else ("scaling", 1.0)
    for dtype in DTYPES:
        one, huge = (layer_of(case, dtype=dtype, **{name: factor * unit}) for factor in (1.0, 1e6))
        x = rows(dtype=dtype)
        with case.running():
            torch.testing.assert_close(branch(huge, x), branch(one, x) * 1e6, rtol=1e-5, atol=1.0)
            y, dx = run(huge, x)
        assert not y.isnan().any()
        # float16 ends at 65,504: what is beyond is infinite.
        assert dtype == torch.float16 or (y.isfinite().all() and dx.isfinite().all())


@pytest.mark.parametrize("name", [pytest.param("native", marks=needs_compiler), "torch"])
@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e-20, 1.0, 1e20, 1e30, 1e37])
def test_the_gradient_through_the_restored_norm_at_every_size(name: str, size: float) -> None:
    circuit = Circuit(4, norm="restore")
    angles = torch.randn(circuit.angle_shape(), generator=torch.Generator().manual_seed(0))
    x = rows(6, 13) * size
    grads = []
    for dtype in (torch.float32, torch.float64):
        own = x.to(dtype).requires_grad_()
        with kernel(name):
            grads.append(torch.autograd.grad(expectation(own, angles.to(dtype), circuit).sum(), own)[0])
    # Near 1e-38 some of the products on the way are subnormal and have fewer digits.
    torch.testing.assert_close(grads[0].double(), grads[1], rtol=0, atol=1e-5 if size > 1e-37 else 1e-3)
