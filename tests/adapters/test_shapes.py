"""Linear layers with an adapter on inputs of every shape, layout and dtype that a model hands them."""

import pytest
import torch
from tests.adapters.edge_cases import DTYPES, EACH_CASE, Case, branch, layer_of, rows, run, trained
from torch import Tensor

WIDTHS = [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2), (5, 1)]
LEADING = [(), (1,), (4,), (2, 3), (2, 1, 3), (2, 2, 1, 2), (0,), (2, 0), (0, 3), (1, 1, 1)]


@EACH_CASE
@pytest.mark.parametrize(("d_in", "d_out"), WIDTHS)
def test_narrow_layers_and_every_number_of_dimensions(case: Case, d_in: int, d_out: int) -> None:
    layer, exact = layer_of(case, d_in, d_out), layer_of(case, d_in, d_out, torch.float64)
    for leading in LEADING:
        x = rows(torch.Size(leading).numel(), d_in).reshape(*leading, d_in)
        with case.running():
            y, dx = run(layer, x)
            expected, expected_dx = run(exact, x.double())
        assert y.shape == (*leading, d_out)
        assert dx.shape == x.shape
        torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(dx.double(), expected_dx, rtol=1e-4, atol=1e-4)


@EACH_CASE
@pytest.mark.parametrize("shape", [(0, 24), (2, 0, 24), (0, 3, 24)])
def test_no_tokens_give_no_output_and_gradients_of_zero(case: Case, shape: tuple[int, ...]) -> None:
    for dtype in DTYPES:
        layer = layer_of(case, dtype=dtype)
        x = torch.zeros(shape, dtype=dtype, requires_grad=True)
        parameters = list(trained(layer).values())
        assert len(parameters) >= 2
        with case.running():
            y = layer(x)
            dx, *grads = torch.autograd.grad(y.sum(), (x, *parameters))
        assert y.shape == (*shape[:-1], 7)
        assert y.dtype == dtype
        assert dx.shape == shape
        assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in grads)


def views(dtype: torch.dtype) -> dict[str, Tensor]:
    """Inputs (4, 6, 24) that are views of something else."""
    long = rows(24, 48, dtype).reshape(4, 6, 48)
    return {
        "batch and tokens transposed": rows(24, 24, dtype).reshape(6, 4, 24).transpose(0, 1),
        "features first": rows(144, 4, dtype).reshape(24, 6, 4).transpose(0, 2),
        "every other feature": long[..., ::2],
        "columns of a wider tensor": long[..., 8:32],
        "every third token": rows(72, 24, dtype).reshape(4, 18, 24)[:, ::3],
        "one row expanded": rows(1, 24, dtype).expand(4, 6, 24),
        "one feature expanded": rows(24, 1, dtype).reshape(4, 6, 1).expand(4, 6, 24),
        "one number expanded": torch.tensor(0.7, dtype=dtype).expand(4, 6, 24),
        "an offset into storage": rows(25, 24, dtype).flatten()[7 : 7 + 576].reshape(4, 6, 24),
        "overlapping windows": rows(1, 64, dtype).flatten().as_strided((4, 6, 24), (6, 1, 1)),
    }


@EACH_CASE
def test_the_layout_of_the_input_changes_nothing(case: Case) -> None:
    for dtype in (torch.float16, torch.float32):
        # torch's own float16 product on a CPU depends on the layout.
        close = 2e-2 if dtype == torch.float16 else 1e-5
        layer = layer_of(case, dtype=dtype)
        contiguous = {}
        for name, x in views(dtype).items():
            assert x.shape == (4, 6, 24)
            plain = x.contiguous()
            contiguous[name] = x.is_contiguous()
            leaf = x.detach().requires_grad_()
            with case.running():
                y, dx = run(layer, plain)
                torch.testing.assert_close(branch(layer, x), branch(layer, plain), rtol=1e-6, atol=1e-6)
                made = layer(leaf)
                (grad,) = torch.autograd.grad(made.double().square().sum(), leaf)
                with torch.no_grad():
                    torch.testing.assert_close(layer(x), y, rtol=close, atol=close)
            torch.testing.assert_close(made, y, rtol=close, atol=close)
            torch.testing.assert_close(grad, dx, rtol=close, atol=close)
        assert [name for name, is_contiguous in contiguous.items() if is_contiguous] == [
            "an offset into storage"
        ]


@EACH_CASE
def test_the_gradient_by_one_row_expanded_is_the_sum_over_its_copies(case: Case) -> None:
    layer, row = layer_of(case), rows(1).requires_grad_()
    with case.running():
        (total,) = torch.autograd.grad(layer(row.expand(4, 6, 24)).square().sum(), row)
        _, dx = run(layer, row)
    torch.testing.assert_close(total, 24 * dx, rtol=1e-5, atol=1e-4)


@EACH_CASE
def test_the_output_has_the_dtype_of_the_base_layer(case: Case) -> None:
    for dtype in DTYPES:
        layer, x = layer_of(case, dtype=dtype), rows(dtype=dtype)
        own = torch.promote_types(dtype, torch.float32)
        with case.running():
            y, dx = run(layer, x)
            added = branch(layer, x)
            exact = layer.base_layer(x).double() + branch(layer_of(case, dtype=torch.float64), x.double())
        assert (y.dtype, dx.dtype, added.dtype) == (dtype, dtype, own)
        assert {parameter.dtype for parameter in trained(layer).values()} == {own}
        # One rounding to the model's dtype, of a sum that is made in float32 at least.
        assert ((y.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 2e-6).all()


@EACH_CASE
@pytest.mark.parametrize("x_trains", [False, True])
@pytest.mark.parametrize("adapter_trains", [False, True])
def test_only_what_asks_for_a_gradient_gets_one(case: Case, x_trains: bool, adapter_trains: bool) -> None:
    layer, x = layer_of(case), rows().requires_grad_(x_trains)
    parameters = list(trained(layer).values())
    with case.running():
        expected, _ = run(layer, x)
        try:
            for parameter in parameters:
                parameter.requires_grad_(adapter_trains)
            y = layer(x)
            if y.requires_grad:
                y.sum().backward()
            given = [parameter.grad is not None for parameter in parameters]
        finally:
            for parameter in parameters:
                parameter.requires_grad_()
                parameter.grad = None
    # Without gradients a few rows are summed in another order.
    torch.testing.assert_close(y, expected)
    assert y.requires_grad == (x_trains or adapter_trains)
    assert (x.grad is not None) == x_trains
    assert given == [adapter_trains] * len(parameters)
    assert layer.base_layer.weight.grad is None


@EACH_CASE
def test_inference_mode_first_leaves_training_possible(case: Case) -> None:
    layer, x = layer_of(case), rows()
    with case.running():
        with torch.inference_mode():
            outside, inside = layer(x), layer(rows())
        expected, dx = run(layer, x)
    torch.testing.assert_close(outside, expected)
    torch.testing.assert_close(inside, expected)
    assert dx.isfinite().all()
