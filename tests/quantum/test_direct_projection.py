"""The projected sum by one plain call: the values of the operator, and left to it where more is asked for."""

from typing import Any

import pytest
import torch
from tests.quantum.kernels.native_cases import needs_compiler
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, measured, project
from amplitune.quantum.direct_projection import project_directly
from amplitune.quantum.kernels.dispatch import kernel
from amplitune.quantum.operators import operator_parameters
from amplitune.quantum.projection import project_op

pytestmark = needs_compiler

#: Untyped, to be called with lists of arguments.
directly: Any = project_directly
projected: Any = project

CIRCUITS = [
    Circuit(4),
    Circuit(4, Ansatz("RY", "ring", 3), "Z+ZZ"),
    Circuit(5, Ansatz("RY", "linear"), ("Z0 Z3",)),
]


def arguments(circuit: Circuit, *leading: int, dtype: Any = torch.float32, circuits: int = 2) -> Any:
    generator = torch.Generator().manual_seed(3)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    wide = torch.promote_types(dtype, torch.float32)
    columns = circuits * circuit.n_observables
    return [
        randn(*leading, 7).to(dtype),
        randn(*leading, 13).to(dtype),
        randn(*circuit.angle_shape(circuits)).to(wide),
        randn(7, columns).to(wide),
        randn(7).to(wide),
    ]


def by_operator(given: list[Any], bias: Tensor | None, circuit: Circuit) -> Tensor:
    base, x, angles, weight = given[:4]
    parameters = operator_parameters(x, angles, circuit)
    return project_op(base, x, parameters, weight, bias, circuit.key, 0.7)


@pytest.mark.parametrize("circuit", CIRCUITS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("leading", [(), (1,), (1, 1), (2, 1)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_the_values_are_those_of_the_operator(
    circuit: Circuit, dtype: torch.dtype, leading: tuple[int, ...], with_bias: bool
) -> None:
    given = arguments(circuit, *leading, dtype=dtype)
    bias = given[4] if with_bias else None
    with torch.no_grad():
        found = directly(*given[:4], bias, circuit, 0.7)
        assert found is not None
        assert torch.equal(found, projected(*given[:4], bias, circuit, 0.7))
        expected = by_operator(given, bias, circuit)
    assert (found.shape, found.dtype) == (given[0].shape, dtype)
    tolerance = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[
        dtype
    ]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_rows_that_have_no_state_and_inputs_that_are_not_contiguous() -> None:
    base, x, angles, weight, bias = arguments(CIRCUITS[0], 3)
    x[0], x[1, 4] = 0, torch.nan
    found = directly(base, x, angles, weight, bias, CIRCUITS[0], 1.0)
    assert found is not None
    torch.testing.assert_close(found[0], base[0] + bias)
    assert torch.isnan(found[1]).all()
    assert torch.isfinite(found[2]).all()


def test_numbers_that_do_not_lie_side_by_side_are_left_to_the_operator() -> None:
    given = arguments(CIRCUITS[1], 3)
    expected = projected(*given, CIRCUITS[1])
    for place in range(4):
        spread = list(given)
        spread[place] = given[place].T.contiguous().T if place != 2 else given[2]
        spread[2] = given[2].permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0) if place == 2 else given[2]
        assert not spread[place].is_contiguous()
        assert directly(*spread, CIRCUITS[1], 1.0) is None
        torch.testing.assert_close(projected(*spread, CIRCUITS[1]), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_in_half_precision_are_rounded_as_torch_rounds(dtype: torch.dtype) -> None:
    base, x, angles, weight, _ = arguments(CIRCUITS[0], 3, dtype=dtype)
    base[0, 0], base[1, 1], base[2, 2] = torch.inf, torch.nan, torch.finfo(dtype).max
    found = directly(base, x, angles, weight, None, CIRCUITS[0], 0.7)
    assert torch.equal(
        directly(base, x, angles, weight * 0, None, CIRCUITS[0], 0.7).nan_to_num(), base.nan_to_num()
    )
    single = directly(base.float(), x, angles, weight, None, CIRCUITS[0], 0.7)
    assert torch.equal(found.nan_to_num(), single.to(dtype).nan_to_num())
    assert torch.equal(found.isnan(), base.isnan())


def test_a_gradient_is_left_to_the_operator() -> None:
    given = arguments(CIRCUITS[0], 1)
    for index in range(5):
        wants = [tensor.clone().requires_grad_(index == place) for place, tensor in enumerate(given)]
        assert directly(*wants, CIRCUITS[0], 1.0) is None
        assert projected(*wants, CIRCUITS[0]).requires_grad
        with torch.no_grad():
            assert directly(*wants, CIRCUITS[0], 1.0) is not None


def test_whoever_watches_sees_the_operator() -> None:
    given = arguments(CIRCUITS[0], 1)

    def direct() -> Any:
        return directly(*given, CIRCUITS[0], 1.0)

    assert direct() is not None
    seen = []
    with FlopCounterMode(display=False):
        seen.append(direct())
    with kernel("torch"):
        seen.append(direct())
    with measured(shots=10):
        seen.append(direct())
    with forward_ad.dual_level():
        seen.append(direct())

    def of_a_row(x: Tensor) -> Tensor:
        seen.append(directly(given[0], x, *given[2:], CIRCUITS[0], 1.0))
        return x

    torch.func.vmap(of_a_row)(given[1])
    assert seen == [None] * 5
    plain = direct()
    assert plain is not None
    # Autocast changes no sum that is not torch's.
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(direct(), plain)


def test_vmap_and_compiled_code_give_the_same_values() -> None:
    base, x, angles, weight, bias = arguments(CIRCUITS[0], 2)

    def run(base: Tensor, x: Tensor) -> Tensor:
        return projected(base, x, angles, weight, bias, CIRCUITS[0])

    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(run)(base, x), run(base, x))
        compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(base, x), run(base, x))


OTHERS = [Circuit(4, Ansatz("RYRZ")), Circuit(4, norm="restore"), Circuit(4, readout="interferometric")]


@pytest.mark.parametrize("circuit", OTHERS, ids=str)
def test_other_circuits_are_left_to_the_operator(circuit: Circuit) -> None:
    given = arguments(circuit, 1)
    assert directly(*given, circuit, 1.0) is None
    assert projected(*given, circuit).isfinite().all()


@pytest.mark.parametrize("place", range(5))
def test_what_does_not_fit_is_refused_as_ever(place: int) -> None:
    given = arguments(CIRCUITS[0], 2)
    given[place] = given[place][..., :-1] if place != 1 else torch.randn(2, 17)
    assert directly(*given, CIRCUITS[0], 1.0) is None
    with pytest.raises(ConfigError):
        projected(*given, CIRCUITS[0])


@pytest.mark.parametrize("place", [2, 3, 4])
def test_other_tensors_at_the_address_of_bound_ones_are_not_taken_for_them(place: int) -> None:
    circuit = CIRCUITS[0]
    base, x, angles, _, bias = arguments(circuit, 1)
    square = torch.randn(8, 8)
    base, bias = torch.randn(1, 8), torch.randn(8)
    given = [base, x, angles, square, bias]
    views = {
        2: [angles.view(torch.int32), angles.as_strided(angles.shape, (0, 0, 0, 1))],
        3: [square.T, square[:, :4].as_strided((8, 8), (8, 0)), square.view(torch.int32)],
        4: [bias[:1].expand(8), bias.view(torch.int32)],
    }
    for view in views[place]:
        assert directly(*given, circuit, 1.0) is not None
        assert view.data_ptr() == given[place].data_ptr()
        assert directly(*given[:place], view, *given[place + 1 :], circuit, 1.0) is None
    assert directly(*given[:3], square.view(-1)[:32].view(8, 4), bias, circuit, 1.0) is None


def test_bound_tensors_can_be_swapped() -> None:
    base, x, angles, weight, bias = arguments(CIRCUITS[0], 1)
    assert directly(base, x, angles, weight, bias, CIRCUITS[0], 1.0) is not None
    torch.utils.swap_tensors(weight, torch.zeros_like(weight))
    torch.utils.swap_tensors(angles, torch.zeros_like(angles))
    found = directly(base, x, angles, weight, None, CIRCUITS[0], 1.0)
    assert torch.equal(found, base)
