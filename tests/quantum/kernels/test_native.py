"""The native kernel: values and gradients, rows that are no numbers, threads, and its library."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.kernels import native, native_build, reference
from amplitune.quantum.kernels.native_tables import folding, groups
from amplitune.quantum.program import Program, block_parameters, program_of

needs_compiler = pytest.mark.skipif(
    bool(native.unavailable()) and not os.environ.get("CI"), reason=str(native.unavailable())
)
pytestmark = needs_compiler


def case(
    circuit: Circuit, features: int, tokens: int = 3, circuits: int = 1, spread: float = 2.0
) -> tuple[Tensor, Tensor, Tensor, Program]:
    """Rows, angles of all quadrants as a program takes them, dL/dz, the program: all float64."""
    generator = torch.Generator().manual_seed(5)
    angles = spread * torch.randn(circuit.angle_shape(circuits), generator=generator, dtype=torch.float64)
    x = torch.randn(tokens, features, generator=generator, dtype=torch.float64)
    program = program_of(circuit)
    grad_z = torch.randn(tokens, circuits * program.n_observables, generator=generator, dtype=torch.float64)
    return x, block_parameters(angles, circuit), grad_z, program


def truth(x: Tensor, angles: Tensor, grad_z: Tensor, program: Program) -> tuple[Tensor, Tensor, Tensor]:
    """z, dL/dx and dL/dangles in float64 by plain autograd through the torch operations."""
    x, angles = (tensor.detach().double().clone().requires_grad_() for tensor in (x, angles))
    z = reference.values(x, angles, program)
    dx, dangles = torch.autograd.grad(z, (x, angles), grad_z.double())
    return z.detach(), dx, dangles


def assert_agrees(x: Tensor, angles: Tensor, grad_z: Tensor, program: Program, tolerance: float) -> None:
    expected, expected_dx, expected_dangles = truth(x, angles, grad_z, program)
    z = native.forward(x, angles, program)
    dx, dangles, again = native.backward(grad_z, x, angles, program, True)
    assert dx is not None
    assert torch.equal(z, again)
    assert dx.dtype == x.dtype
    torch.testing.assert_close(z.double(), expected, rtol=0, atol=tolerance)
    for made, wanted in ((dx, expected_dx), (dangles, expected_dangles)):
        # The result is rounded once more where its dtype is shorter than the compute dtype.
        allowed = max(tolerance, torch.finfo(made.dtype).eps) * max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(made.double(), wanted, rtol=0, atol=allowed)


# Values and gradients ---------------------------------------------------------------------------------------


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


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86")
@pytest.mark.parametrize("flags", ["-mno-avx512f", "-mno-avx -U__FLT16_MAX__"])
def test_shorter_vectors_and_no_half_precision(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", f"cc {flags}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library: Any = native_build.load.__wrapped__()
    monkeypatch.setattr(native, "load", lambda: library)
    monkeypatch.setattr(native, "_tables", {})
    assert library.amplitune_lanes(0) < 16
    for n, depth in product(range(1, 12), (1, 2)):
        circuit = Circuit(n, Ansatz(depth=depth), readout="Z" if n > 6 else "Z+ZZ")
        x, angles, grad_z, program = case(circuit, features=2**n - n // 2, circuits=2)
        assert_agrees(x, angles, grad_z, program, 1e-12)
        assert_agrees(x.float(), angles.float(), grad_z.float(), program, 4e-6)
        assert_agrees(x.half(), angles.float(), grad_z.float(), program, 4e-6)


# Rows -------------------------------------------------------------------------------------------------------


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


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of loaded libraries")
def test_the_kernel_runs_on_the_threads_of_torch() -> None:
    native.forward(torch.ones(1, 4), torch.zeros(1, 1, 2), program_of(Circuit(2)))
    loaded = {Path(line.split()[-1]).name for line in Path("/proc/self/maps").read_text().splitlines()}
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


# The library ------------------------------------------------------------------------------------------------

PROGRAM = """
import torch
from amplitune.quantum import Circuit
from amplitune.quantum.kernels import native
from amplitune.quantum.program import program_of
program = program_of(Circuit(2, readout=("Z1",)))
print(native.forward(torch.tensor([[0.0, 3.0, 4.0]]), torch.zeros(1, 1, 2), program))
"""


def test_a_second_process_loads_what_the_first_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = native_build.build()
    folder = tmp_path / "amplitune"
    assert list(folder.iterdir()) == [library]
    assert folder.stat().st_mode & 0o077 == 0
    before = library.stat()
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    # The ring folds Z on wire 1 into the product of Z on both, which is -1 on |01> and on |10>.
    assert done.stdout.strip() == "tensor([[-1.]])"
    assert list(folder.iterdir()) == [library]
    assert (library.stat().st_mtime_ns, library.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(("command", "reason"), [("false", "status 1"), ("/nowhere/cc", "does not run")])
def test_without_a_compiler_there_is_a_reason_and_no_error(
    command: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", command)
    library = native_build.load.__wrapped__()
    assert isinstance(library, str)
    assert reason in library


def test_a_failing_compilation_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "fake-cc"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo fake && exit 0\necho "no such target" >&2\nexit 3\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(native_build.UnavailableError, match="status 3: no such target"):
        native_build.build()
    assert list((tmp_path / "cache" / "amplitune").iterdir()) == []


def test_a_cache_that_others_may_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "amplitune"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(native_build.UnavailableError, match="written to by others"):
        native_build.cache_folder()


# Tables -----------------------------------------------------------------------------------------------------


def signs_of(mask: int, size: int) -> Tensor:
    return torch.tensor([(-1.0) ** (index & mask).bit_count() for index in range(size)], dtype=torch.float64)


@pytest.mark.parametrize(
    ("bits", "lane_bits", "widest"), [(4, 4, 4), (5, 1, 3), (7, 2, 2), (8, 0, 3), (9, 3, 4)]
)
def test_folding_steps_sum_every_mask(bits: int, lane_bits: int, widest: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    masks = [*torch.randint(0, 2**bits, (9,), generator=generator).tolist(), 0]
    steps, places, work, leaves = folding(masks, bits, lane_bits, widest)
    state = torch.randn(2 ** (bits - lane_bits), 2**lane_bits, generator=generator, dtype=torch.float64)
    memory = torch.full((work, 2**lane_bits), torch.nan, dtype=torch.float64)
    for wires, length, source, destination, wanted in steps:
        origin = state if source < 0 else memory[source:]
        pieces = origin[: length << wires].view(2**wires, length, -1).clone()
        for pattern in (pattern for pattern in range(2**wires) if wanted >> pattern & 1):
            signed = signs_of(pattern, 2**wires)[:, None, None] * pieces
            memory[destination : destination + length] = signed.sum(0)
            destination += length
    for mask, place in zip(masks, places, strict=True):
        leaf, lane_mask = divmod(place, 2**lane_bits)
        assert leaf < leaves
        made = (memory[leaf] * signs_of(lane_mask, 2**lane_bits)).sum()
        torch.testing.assert_close(made, (state.flatten() * signs_of(mask, 2**bits)).sum())


def test_a_ring_is_folded_in_little_memory() -> None:
    program = program_of(Circuit(11))
    steps, _, work, _ = folding([*(word.z for word in program.words), 0], 11, 4, 4)
    written = sum(length * wanted.bit_count() for _, length, _, _, wanted in steps)
    assert written == work
    assert written < 2**7


def test_groups_are_even_and_complete() -> None:
    cases = [(wires, widest) for wires in range(13) for widest in (1, 2, 3, 4)]
    for wires, widest in cases:
        sizes = groups(wires, widest)
        assert sum(sizes) == wires
        assert max(sizes) <= widest
        assert max(sizes) - min(sizes) <= 1
    assert len(cases) == 52
