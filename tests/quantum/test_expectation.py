"""Expectation values: shapes, dtypes, invariances, and rows that are zero, huge, tiny or not numbers."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit, expectation, statevector
from amplitune.quantum.ansatz import ROTATIONS

CIRCUIT = Circuit(3, Ansatz("RY", "ring", depth=2))
COMPLEX_CIRCUIT = Circuit(3, Ansatz("Rot", "linear", depth=2))
CIRCUITS = [CIRCUIT, COMPLEX_CIRCUIT]


def angles_of(circuit: Circuit, circuits: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(circuit.angle_shape(circuits), generator=generator, dtype=torch.float64).to(dtype)


def rows_of(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(dtype)


# Shapes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (2, 1, 3), (2, 3, 1, 2), (0,), (2, 0)])
def test_leading_dimensions_are_kept(circuit: Circuit, leading: tuple[int, ...]) -> None:
    x, angles = rows_of(*leading, 7).requires_grad_(), angles_of(circuit, 2).requires_grad_()
    values, states = expectation(x, angles, circuit), statevector(x, angles, circuit)
    assert values.shape == (*leading, 6)
    assert states.shape == (*leading, 2, 8)
    torch.testing.assert_close(
        values.reshape(-1, 6), expectation(x.reshape(-1, 7), angles, circuit), rtol=0, atol=1e-14
    )
    (values.sum() + states.abs().sum()).backward()
    assert x.grad is not None
    assert angles.grad is not None
    assert x.grad.isfinite().all()
    assert angles.grad.isfinite().all()


def test_input_may_lie_anyhow_in_memory() -> None:
    angles = angles_of(CIRCUIT)
    base = rows_of(14, 5, 3)
    layouts = [base.permute(2, 1, 0)[..., :7], base.permute(2, 1, 0)[..., ::2], base[0, 0].expand(4, 3)]
    for x in layouts:
        assert not x.is_contiguous()
        torch.testing.assert_close(
            expectation(x, angles, CIRCUIT), expectation(x.contiguous(), angles, CIRCUIT), rtol=0, atol=1e-14
        )


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_parallel_circuits_equal_circuits_one_by_one(circuit: Circuit) -> None:
    x, angles = rows_of(4, 6), angles_of(circuit, 3)
    together = expectation(x, angles, circuit)
    apart = [expectation(x, one[None], circuit) for one in angles]
    torch.testing.assert_close(together, torch.cat(apart, dim=-1), rtol=0, atol=1e-14)
    states = [statevector(x, one[None], circuit) for one in angles]
    torch.testing.assert_close(statevector(x, angles, circuit), torch.cat(states, dim=1), rtol=0, atol=1e-14)


# Dtypes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize(
    ("input_dtype", "angle_dtype", "dtype"),
    [
        (torch.float16, torch.float16, torch.float32),
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.float32, torch.bfloat16, torch.float32),
        (torch.float32, torch.float32, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.bfloat16, torch.float64, torch.float64),
    ],
)
def test_results_have_at_least_single_precision(
    circuit: Circuit, input_dtype: torch.dtype, angle_dtype: torch.dtype, dtype: torch.dtype
) -> None:
    x = rows_of(4, 7, dtype=input_dtype).requires_grad_()
    angles = angles_of(circuit, dtype=angle_dtype).requires_grad_()
    values = expectation(x, angles, circuit)
    assert values.dtype == dtype
    assert statevector(x, angles, circuit).abs().dtype == dtype
    # The same numbers in the compute dtype give the same bits: nothing inside is rounded to half precision.
    assert torch.equal(values, expectation(x.to(dtype), angles.to(dtype), circuit))
    tolerance = 1e-13 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(
        values.double(), expectation(x.double(), angles.double(), circuit), rtol=0, atol=tolerance
    )
    values.square().sum().backward()
    assert x.grad is not None
    assert angles.grad is not None
    assert (x.grad.dtype, angles.grad.dtype) == (input_dtype, angle_dtype)
    assert x.grad.abs().max() > 0


def test_autocast_does_not_lower_the_precision() -> None:
    x, angles = rows_of(4, 7, dtype=torch.float32), angles_of(CIRCUIT, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, states = expectation(x, angles, CIRCUIT), statevector(x, angles, CIRCUIT)
    assert torch.equal(values, expectation(x, angles, CIRCUIT))
    assert torch.equal(states, statevector(x, angles, CIRCUIT))


def test_a_lower_precision_of_matrix_products_does_not_reach_the_states() -> None:
    circuit = Circuit(8, Ansatz("Rot", "ring", depth=2))
    x, angles = (
        rows_of(64, 200, dtype=torch.float32).requires_grad_(),
        angles_of(circuit, dtype=torch.float32),
    )

    def run() -> list[Tensor]:
        values = expectation(x, angles, circuit)
        (gradient,) = torch.autograd.grad(values.square().sum(), x)
        return [values, gradient, statevector(x, angles, circuit)]

    expected = run()
    torch.set_float32_matmul_precision("medium")
    try:
        found = run()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


# Invariances ------------------------------------------------------------------------------------------------

ROWS = st.lists(st.floats(min_value=-1e3, max_value=1e3), min_size=1, max_size=8)
SOME_ANGLES = st.lists(st.floats(min_value=-10, max_value=10), min_size=18, max_size=18)


@settings(max_examples=60, deadline=None)
@given(row=ROWS, some=SOME_ANGLES, exponent=st.integers(-900, 900), circuit=st.sampled_from(CIRCUITS))
def test_sign_and_powers_of_two_do_not_change_a_bit(
    row: list[float], some: list[float], exponent: int, circuit: Circuit
) -> None:
    # Without digits that a tiny scale would push below the smallest number.
    x = torch.tensor(row, dtype=torch.float64).to(torch.float16).double()
    angles = torch.tensor(some, dtype=torch.float64)[: torch.Size(circuit.angle_shape()).numel()]
    angles = angles.view(circuit.angle_shape())
    values = expectation(x, angles, circuit)
    assert torch.equal(expectation(-x, angles, circuit), values)
    assert torch.equal(expectation(x * 2.0**exponent, angles, circuit), values)


@settings(max_examples=60, deadline=None)
@given(row=ROWS, some=SOME_ANGLES, factor=st.floats(1e-6, 1e6), circuit=st.sampled_from(CIRCUITS))
def test_scale_does_not_matter_and_values_are_expectations(
    row: list[float], some: list[float], factor: float, circuit: Circuit
) -> None:
    x = torch.tensor(row, dtype=torch.float64)
    angles = torch.tensor(some, dtype=torch.float64)[: torch.Size(circuit.angle_shape()).numel()]
    angles = angles.view(circuit.angle_shape())
    values = expectation(x, angles, circuit)
    assert values.abs().max() <= 1 + 1e-14
    if (x == 0).logical_or(x.abs() > 1e-290).all():
        torch.testing.assert_close(expectation(x * factor, angles, circuit), values, rtol=0, atol=1e-12)


# Rows at the edges of arithmetic ----------------------------------------------------------------------------


@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize(
    ("dtype", "norm"),
    [
        (torch.float64, 1e-150),
        (torch.float64, 1e-300),
        (torch.float64, 1e150),
        (torch.float64, 1e300),
        (torch.float32, 1e-30),
        (torch.float32, 1e37),
        (torch.bfloat16, 1e-30),
        (torch.bfloat16, 1e37),
        (torch.float16, 6e4),
        (torch.float16, 1e-6),
    ],
)
def test_huge_and_tiny_norms_are_exact_with_gradients(
    circuit: Circuit, dtype: torch.dtype, norm: float
) -> None:
    rows = rows_of(3, 7)
    x = (rows / rows.norm(dim=-1, keepdim=True) * norm).to(dtype).requires_grad_()
    # The same directions at a norm near 1, where the gradient is `size` times as large.
    size = 2.0 ** torch.tensor(norm, dtype=torch.float64).log2().round()
    unit = (x.detach().double() / size).requires_grad_()
    angles = angles_of(circuit)
    weights = rows_of(3, 3) * 0.1

    expected = expectation(unit, angles, circuit)
    found = expectation(x, angles.to(torch.float64 if dtype == torch.float64 else torch.float32), circuit)
    tolerance = 1e-14 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)

    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), unit)
    # A small cotangent keeps gradients of the order of 1/norm inside the range of float16.
    small = 1e-3 if dtype == torch.float16 and norm < 1 else 1.0
    (gradient,) = torch.autograd.grad((found * (weights * small)).sum(), x)
    assert gradient.dtype == dtype
    if dtype == torch.float16 and norm > 1:
        # Of the order of 1e-6: float16 has no more than five bits there.
        tolerance = 0.05
    elif dtype.itemsize == 2:
        tolerance = 0.01
    scaled = gradient.double() / small * size
    torch.testing.assert_close(scaled, expected_gradient, rtol=0, atol=tolerance)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_ends_of_a_dtype_have_expectation_values(dtype: torch.dtype) -> None:
    limits = torch.finfo(dtype)
    directions = torch.tensor([[1.0, -1.0, 0.5, 1.0], [1.0, 1.0, 0.0, -1.0]], dtype=dtype)
    compute_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    angles = angles_of(CIRCUIT, dtype=compute_dtype)
    expected = expectation(directions, angles, CIRCUIT)
    tolerance = 1e-14 if dtype == torch.float64 else 1e-6
    smallest = torch.nextafter(torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype))
    assert 0 < smallest < limits.tiny
    for size in (limits.max, limits.tiny, 2 * smallest):
        found = expectation(directions * size, angles, CIRCUIT)
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_row_of_zeros_gives_zeros_and_no_gradient(rotation: str, dtype: torch.dtype) -> None:
    circuit = Circuit(3, Ansatz(rotation, "ring", depth=2))
    rows = rows_of(3, 7, dtype=dtype)
    x = torch.cat(
        (rows[:1], torch.zeros_like(rows[:1]), -torch.zeros_like(rows[:1]), rows[1:])
    ).requires_grad_()
    angles = angles_of(circuit).to(dtype).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values, states = expectation(x, angles, circuit), statevector(x, angles, circuit)
        (values.sum() + states.abs().square().sum()).backward()
    assert (values[1:3] == 0).all()
    assert (states[1:3] == 0).all()
    assert x.grad is not None
    assert (x.grad[1:3] == 0).all()
    assert (x.grad[[0, 3, 4]] != 0).any(dim=-1).all()

    alone = angles.detach().clone().requires_grad_()
    expectation(rows, alone, circuit).sum().backward()
    assert angles.grad is not None
    assert alone.grad is not None
    tolerance = 1e-13 if dtype == torch.float64 else 0.02 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(angles.grad, alone.grad, rtol=0, atol=tolerance)


@pytest.mark.parametrize("circuit", CIRCUITS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_is_no_number_spoils_itself_only(circuit: Circuit, value: float) -> None:
    x, angles = rows_of(5, 7), angles_of(circuit, 2)
    spoiled = x.clone()
    spoiled[2, 3] = value
    others = [0, 1, 3, 4]
    spoiled.requires_grad_()
    values, states = expectation(spoiled, angles, circuit), statevector(spoiled, angles, circuit)
    assert values[2].isnan().all()
    assert states[2].isnan().any()
    assert torch.equal(values[others], expectation(x, angles, circuit)[others])
    assert torch.equal(states[others], statevector(x, angles, circuit)[others])
    values.sum().backward()
    assert spoiled.grad is not None
    assert spoiled.grad[others].isfinite().all()


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_torch_compile_traces_one_graph(circuit: Circuit) -> None:
    compiled = torch.compile(
        lambda x, angles: expectation(x, angles, circuit), backend="aot_eager", fullgraph=True, dynamic=False
    )
    x, angles = rows_of(4, 7).requires_grad_(), angles_of(circuit).requires_grad_()
    values = compiled(x, angles)
    expected = expectation(x, angles, circuit)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-14)
    found = torch.autograd.grad(values.square().sum(), (x, angles))
    expected_gradients = torch.autograd.grad(expected.square().sum(), (x, angles))
    for gradient, expected_gradient in zip(found, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-13)


def test_vmap_over_rows_equals_a_batch() -> None:
    x, angles = rows_of(4, 7), angles_of(CIRCUIT)
    values = torch.func.vmap(lambda row: expectation(row, angles, CIRCUIT))(x)
    torch.testing.assert_close(values, expectation(x, angles, CIRCUIT), rtol=0, atol=1e-14)
