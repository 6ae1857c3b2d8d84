"""The native kernel: rows that are no numbers, ends of a dtype, threads, and what it does not support."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.quantum.kernels.native_cases import case, needs_compiler

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.kernels import native
from amplitune.quantum.program import program_of

pytestmark = needs_compiler


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_zero_rows_have_zero_values_and_gradients(dtype: torch.dtype) -> None:
    x, angles, grad_z, program = case(Circuit(5, Ansatz(depth=2)), features=30, tokens=4)
    x[2] = 0
    z = native.forward(x.to(dtype), angles.to(dtype), program)
    dx, dangles, _ = native.backward(grad_z.to(dtype), x.to(dtype), angles.to(dtype), program, True)
    assert dx is not None
    assert not z[2].any()
    assert not dx[2].any()
    others = [0, 1, 3]
    _, expected, _ = native.backward(
        grad_z[others].to(dtype), x[others].to(dtype), angles.to(dtype), program, True
    )
    assert torch.equal(dangles, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_that_is_no_number_stays_alone(bad: float) -> None:
    x, angles, grad_z, program = case(Circuit(5, Ansatz(depth=2)), features=30, tokens=4, circuits=2)
    clean_z = native.forward(x, angles, program)
    clean_dx, _, _ = native.backward(grad_z, x, angles, program, True)
    x[1, 7] = bad
    dx, _, z = native.backward(grad_z, x, angles, program, True)
    assert clean_dx is not None
    assert dx is not None
    others = [0, 2, 3]
    assert z[1].isnan().all()
    assert dx[1].isnan().any()
    assert torch.equal(z[others], clean_z[others])
    assert torch.equal(dx[others], clean_dx[others])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_do_not_depend_on_sign_and_power_of_two_by_a_bit(dtype: torch.dtype) -> None:
    x, angles, _, program = case(Circuit(7, Ansatz(depth=2)), features=100)
    x, angles = x.to(dtype), angles.to(dtype)
    z = native.forward(x, angles, program)
    assert torch.equal(native.forward(-x, angles, program), z)
    largest = 1020 if dtype == torch.float64 else 120
    for exponent in (1, 40, largest, -largest // 2, 10 - largest):
        scaled = torch.ldexp(x, torch.tensor(exponent))
        # A row loses digits where it meets the subnormal numbers.
        if torch.equal(torch.ldexp(scaled, torch.tensor(-exponent)), x):
            assert torch.equal(native.forward(scaled, angles, program), z)


def test_subnormal_and_largest_rows() -> None:
    _, angles, _, program = case(Circuit(3), features=8)
    pattern = torch.tensor([[0.0, 1, 2, 0, 3, 0, -1, 1]])
    expected = native.forward(pattern.double(), angles, program)
    for dtype in (torch.float32, torch.float64):
        info = torch.finfo(dtype)
        for unit in (info.smallest_normal * info.eps, info.max / 4):
            z = native.forward((pattern.double() * unit).to(dtype), angles.to(dtype), program)
            torch.testing.assert_close(z.double(), expected, rtol=0, atol=1e-6)


# Threads ----------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_threads_change_no_value() -> None:
    x, angles, grad_z, program = case(Circuit(9, Ansatz(depth=2)), features=500, tokens=301)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(native.backward(grad_z, x, angles, program, True))
        assert torch.equal(native.forward(x, angles, program), results[0][2])
    first = results[0]
    for dx, dangles, z in results[1:]:
        assert torch.equal(z, first[2])
        assert dx is not None
        assert first[0] is not None
        assert torch.equal(dx, first[0])
        torch.testing.assert_close(dangles, first[1], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("threads")
def test_gradients_of_many_tokens_keep_their_digits() -> None:
    x, angles, grad_z, program = case(Circuit(4), features=16, tokens=20_000)
    x, angles, grad_z = x.float(), angles.float(), grad_z.float()
    _, dangles, _ = native.backward(grad_z, x, angles, program, False)
    _, expected, _ = native.backward(grad_z.double(), x.double(), angles.double(), program, False)
    torch.testing.assert_close(dangles.double(), expected, rtol=0, atol=1e-5 * 20_000**0.5)


LIBRARIES = """
from pathlib import Path
import torch
from amplitune.quantum import Circuit, expectation
from amplitune.quantum.kernels.dispatch import kernel
with kernel("native"):
    expectation(torch.ones(64, 4), torch.zeros(1, 1, 1, 2), Circuit(2))
print(*{line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()})
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of loaded libraries")
def test_the_kernel_runs_on_the_threads_of_torch() -> None:
    # In a process of its own: other simulators bring OpenMP runtimes along.
    done = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, check=True)
    loaded = {Path(name).name for name in done.stdout.split()}
    assert any(name.startswith("native-") for name in loaded)
    assert sum(name.startswith(("libgomp", "libomp", "libiomp")) for name in loaded) == 1


# What it refuses --------------------------------------------------------------------------------------------


def test_unsupported_says_why() -> None:
    x = torch.ones(1, 4)
    reasons = {
        "real circuits": Circuit(2, Ansatz("Rot")),
        "re-uploading": Circuit(2, Ansatz(depth=2, reuploading=True)),
        "Pauli words of Z": Circuit(2, readout="probabilities"),
        "words of Z only": Circuit(2, readout=("X0",)),
        "up to 16 qubits": Circuit(17),
    }
    for part, circuit in reasons.items():
        reason = native.unsupported(program_of(circuit), x)
        assert reason is not None
        assert part in reason
    assert "meta" in str(native.unsupported(program_of(Circuit(2)), x.to("meta")))
    assert native.unsupported(program_of(Circuit(2)), x) is None
