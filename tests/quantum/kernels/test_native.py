"""The native kernel: values and gradients of every structure, dtype and layout."""

from itertools import product

import pytest
import torch
from tests.quantum.kernels.native_cases import assert_agrees, case, needs_compiler

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.kernels import native

pytestmark = needs_compiler


def test_every_number_of_qubits_agrees_with_the_reference() -> None:
    visited = 0
    for n, (depth, gate) in product(range(1, 14), ((1, "CNOT"), (2, "CNOT"), (2, "CZ"))):
        circuit = Circuit(n, Ansatz(depth=depth, entangling_gate=gate), readout="Z" if n > 8 else "Z+ZZ")
        x, angles, grad_z, program = case(circuit, features=2**n - n // 2)
        assert_agrees(x, angles, grad_z, program, 1e-12)
        assert_agrees(x.float(), angles.float(), grad_z.float(), program, 4e-6)
        visited += 1
    assert visited == 39


def test_every_structure_agrees_with_the_reference() -> None:
    entanglers: tuple[str | tuple[tuple[int, int], ...], ...] = (
        "ring",
        "linear",
        "all-to-all",
        "none",
        ((0, 3), (2, 1), (4, 0)),
    )
    readouts: tuple[str | tuple[str, ...], ...] = ("Z", "Z+ZZ", ("Z4", "Z0 Z2 Z3", "Z0 Z1 Z2 Z3 Z4"))
    visited = 0
    for entangler, gate, depth, after, readout in product(
        entanglers, ("CNOT", "CZ"), (1, 2, 3), ("none", "RY"), readouts
    ):
        circuit = Circuit(
            5, Ansatz("RY", entangler, depth, entangling_gate=gate, rotation_after=after), readout=readout
        )
        arguments = case(circuit, features=27, tokens=2, circuits=2)
        assert native.unsupported(arguments[-1], arguments[0]) is None
        assert_agrees(*arguments, 1e-12)
        visited += 1
    assert visited == 180


@pytest.mark.parametrize("circuits", [1, 2, 3])
@pytest.mark.parametrize("tokens", [0, 1, 2, 7])
def test_parallel_circuits_and_odd_numbers_of_tokens(circuits: int, tokens: int) -> None:
    arguments = case(Circuit(6, Ansatz(depth=2)), features=40, tokens=tokens, circuits=circuits)
    x, angles, grad_z, program = arguments
    if tokens:
        assert_agrees(*arguments, 1e-12)
    dx, dangles, z = native.backward(grad_z, x, angles, program, True)
    assert dx is not None
    assert dx.shape == x.shape
    assert z.shape == (tokens, circuits * 6)
    assert dangles.shape == angles.shape
    assert dangles.any() == (tokens > 0)


@pytest.mark.parametrize("x_dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("angle_dtype", [torch.float64, torch.float32])
def test_every_dtype_of_the_input(x_dtype: torch.dtype, angle_dtype: torch.dtype) -> None:
    x, angles, grad_z, program = case(Circuit(7, Ansatz(depth=2)), features=100, circuits=2)
    x, angles = x.to(x_dtype), angles.to(angle_dtype)
    single = torch.float64 not in (x_dtype, angle_dtype)
    grad_z = grad_z.to(torch.float32 if single else torch.float64)
    assert_agrees(x, angles, grad_z, program, 2e-6 if single else 1e-12)
    assert native.forward(x, angles, program).dtype == grad_z.dtype


def test_half_precision_gradients_are_rounded_to_nearest() -> None:
    x, angles, grad_z, program = case(Circuit(7), features=100)
    for dtype in (torch.bfloat16, torch.float16):
        rows = x.to(dtype)
        single, _, _ = native.backward(grad_z.float(), rows.float(), angles.float(), program, True)
        half, _, _ = native.backward(grad_z.float(), rows, angles.float(), program, True)
        assert single is not None
        assert half is not None
        assert torch.equal(half, single.to(dtype))


def test_angles_at_the_corners_of_the_circle() -> None:
    quarter = torch.pi / 2
    x, angles, grad_z, program = case(Circuit(5, Ansatz(depth=2)), features=32)
    for turns in range(-5, 6):
        assert_agrees(x, torch.full_like(angles, turns * quarter), grad_z, program, 1e-12)
    assert_agrees(
        x, torch.linspace(-40, 40, 10, dtype=torch.float64).reshape(angles.shape), grad_z, program, 1e-12
    )


def test_input_may_lie_anyhow_in_memory() -> None:
    _, angles, _, program = case(Circuit(3), features=8)
    base = torch.randn(12, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for x in (base[:, :7], base[:, 1::2], base[::2, 3:10], base.T[:, :5], base[:1, :6].expand(4, 6)):
        assert not x.is_contiguous()
        assert torch.equal(
            native.forward(x, angles, program), native.forward(x.contiguous(), angles, program)
        )
        grad_z = torch.ones(x.shape[0], 3, dtype=torch.float64)
        made, wanted = (native.backward(grad_z, rows, angles, program, True) for rows in (x, x.contiguous()))
        assert made[0] is not None
        assert wanted[0] is not None
        assert torch.equal(made[0], wanted[0])


def test_no_gradient_of_the_input_unless_wanted() -> None:
    x, angles, grad_z, program = case(Circuit(6, Ansatz(depth=2)), features=60)
    _, dangles, _ = native.backward(grad_z, x, angles, program, True)
    nothing, same, _ = native.backward(grad_z, x, angles, program, False)
    assert nothing is None
    assert torch.equal(same, dangles)
