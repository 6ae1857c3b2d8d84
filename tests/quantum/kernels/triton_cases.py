"""The Triton kernels against the reference, case by case, in a process of its own: `triton_cases.py GROUPS`.

With TRITON_INTERPRET=1 the kernels run in Triton's interpreter. That has to be set before Triton is imported,
which importing torch may do, so a process that runs other tests is too late. Prints, as JSON, a list
of [case, largest error, error allowed] for each group.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from itertools import cycle, product
from typing import Any

import torch
from torch import Tensor

from amplitune.quantum import Ansatz, Circuit
from amplitune.quantum.ansatz import Wires
from amplitune.quantum.kernels import reference, triton_backend, up_projection
from amplitune.quantum.kernels.triton_tables import shape_of
from amplitune.quantum.program import Program, block_parameters, program_of

Case = tuple[str, float, float]
Arguments = tuple[Tensor, Tensor, Tensor, Program]

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
SINGLE = 3e-6


def arguments(
    circuit: Circuit,
    features: int,
    tokens: int = 3,
    circuits: int = 1,
    dtype: torch.dtype = torch.float32,
    spread: float = 2.0,
) -> Arguments:
    """dL/dz, rows, angles of all quadrants as a program takes them, and the program."""
    generator = torch.Generator().manual_seed(5)
    angles = spread * torch.randn(circuit.angle_shape(circuits), generator=generator)
    x = torch.randn(tokens, features, generator=generator).to(dtype)
    program = program_of(circuit)
    grad_z = torch.randn(tokens, circuits * program.n_observables, generator=generator)
    return grad_z, x, block_parameters(angles, circuit), program


def truth(grad_z: Tensor, x: Tensor, angles: Tensor, program: Program) -> tuple[Tensor, Tensor, Tensor]:
    """z, dL/dx and dL/dangles in float64 by plain autograd through the torch operations."""
    x, angles = (tensor.detach().double().requires_grad_() for tensor in (x, angles))
    z = reference.values(x, angles, program)
    dx, dangles = torch.autograd.grad(z, (x, angles), grad_z.double(), allow_unused=True)
    return z.detach(), torch.zeros_like(x) if dx is None else dx, dangles


def largest(made: Tensor, wanted: Tensor) -> float:
    """The largest error relative to the largest value wanted or 1; infinite where the NaN differ."""
    made, wanted = made.detach().cpu().double(), wanted.double()
    if made.shape != wanted.shape or not torch.equal(made.isnan(), wanted.isnan()):
        return float("inf")
    if not wanted.numel():
        return 0.0
    error = (made - wanted).nan_to_num(0.0).abs().max()
    return float(error / wanted.nan_to_num(0.0).abs().max().clamp_min(1.0))


def compare(name: str, given: Arguments, allowed: float = SINGLE, needs_x: bool = True) -> Iterator[Case]:
    """Values and gradients of one circuit."""
    grad_z, x, angles, program = given
    reason = triton_backend.unsupported_program(program, x)
    if reason is not None:
        raise AssertionError(f"{name}: {reason}")
    z, dx, dangles = truth(grad_z, x, angles, program)
    gradients, rows, parameters = grad_z.to(DEVICE), x.to(DEVICE), angles.to(DEVICE)
    made_z = triton_backend.forward(rows, parameters, program)
    made_dx, made_dangles, again = triton_backend.backward(gradients, rows, parameters, program, needs_x)
    yield f"{name}: z", largest(made_z, z), allowed
    yield f"{name}: z again", largest(again, z), allowed
    yield f"{name}: dangles", largest(made_dangles, dangles), allowed
    if made_dx is None:
        yield f"{name}: no dx", float(needs_x), 0.0
    else:
        yield f"{name}: dx", largest(made_dx, dx), max(allowed, torch.finfo(x.dtype).eps / 2)
        yield f"{name}: dtype of dx", float(made_dx.dtype != x.dtype), 0.0


def qubits() -> Iterator[Case]:
    """Every number of qubits, one and two blocks; rows that do not fill the state."""
    for n, (depth, gate) in product(range(1, 14), ((1, "CNOT"), (2, "CNOT"), (2, "CZ"))):
        if n > 9 and gate == "CZ":
            continue
        circuit = Circuit(n, Ansatz(depth=depth, entangling_gate=gate))
        yield from compare(f"n={n} {depth} {gate}", arguments(circuit, 2**n - n // 2, tokens=1 + n % 3))


def structures() -> Iterator[Case]:
    """Every entangler, gate, depth and readout."""
    entanglers: tuple[str | Wires, ...] = ("ring", "linear", "all-to-all", "none", ((0, 3), (2, 1), (4, 0)))
    readouts: tuple[str | tuple[str, ...], ...] = (
        "Z",
        "Z+ZZ",
        "XYZ",
        "probabilities",
        ("X0 X4", "Y1 Y3", "Z0 Z1 Z2", "X1 Z2 Y4 Y0"),
    )
    turns = cycle(readouts)
    for entangler, gate, depth in product(entanglers, ("CNOT", "CZ"), (1, 2, 3)):
        for after in ("none", "RY"):
            # In turn, so that each readout is seen with each gate, folded through an entangler and not.
            readout = next(turns)
            ansatz = Ansatz("RY", entangler, depth, entangling_gate=gate, rotation_after=after)
            given = arguments(Circuit(5, ansatz, readout=readout), 27, tokens=2)
            yield from compare(f"{entangler} {gate} {depth} {after} {readout}", given)
    for readout in ("XYZ", "probabilities", "Z+ZZ"):
        for n in (1, 9):
            given = arguments(
                Circuit(n, Ansatz(depth=n // 4), readout=readout) if n > 1 else Circuit(1), 2**n
            )
            yield from compare(f"n={n} {readout}", given)
    deep = Ansatz("RY", "ring", 8, rotation_after="RY")
    yield from compare("depth 8", arguments(Circuit(6, deep), 50, circuits=2), 2 * SINGLE)
    words = tuple(f"Z{i} Z{j} Z{k}" for i in range(7) for j in range(i) for k in range(j))
    many = Circuit(7, readout=words * 4)
    yield from compare("140 words, in two launches", arguments(many, 100, tokens=2), 2 * SINGLE)


def rows() -> Iterator[Case]:
    """Dtypes, token counts, parallel circuits, gradients not wanted, and rows that are no states."""
    for dtype, n in product((torch.float32, torch.bfloat16, torch.float16), (3, 8)):
        circuit = Circuit(n, Ansatz(depth=1 + n % 2))
        yield from compare(f"{dtype} n={n}", arguments(circuit, 2**n - 1, dtype=dtype))
    per_step = shape_of(6, 4, backward=False).tokens
    for tokens, circuits, needs_x in product((0, 1, per_step + 5), (1, 2), (True, False)):
        given = arguments(Circuit(6, Ansatz(depth=2)), 40, tokens, circuits)
        yield from compare(f"{tokens} tokens {circuits} circuits dx={needs_x}", given, needs_x=needs_x)
    half = torch.pi / 2
    for turns in (-4, -1, 1, 2, 3):
        grad_z, x, angles, program = arguments(Circuit(6, Ansatz(depth=2)), 64)
        corner = torch.full_like(angles, turns * half)
        yield from compare(f"all angles {turns} pi/2", (grad_z, x, corner, program))
    grad_z, x, angles, program = arguments(Circuit(5), 32)
    yield from compare("float64 angles", (grad_z.double(), x, angles.double(), program), 1e-6)
    yield from compare("large angles", arguments(Circuit(6, Ansatz(depth=2)), 64, spread=300.0))
    for n in (4, 9):
        grad_z, x, angles, program = arguments(Circuit(n), 2**n, tokens=7)
        x[1], x[3, 2], x[5, 0] = 0.0, torch.nan, torch.inf
        clean = torch.tensor([0, 1, 2, 4, 6])
        z, dx, _ = truth(grad_z[clean], x[clean], angles, program)
        parameters = angles.to(DEVICE)
        made_dx, _, made_z = triton_backend.backward(
            grad_z.to(DEVICE), x.to(DEVICE), parameters, program, True
        )
        assert made_dx is not None
        for name, made, wanted in (("z", made_z.cpu(), z), ("dx", made_dx.cpu(), dx)):
            yield f"n={n} {name} beside rows that are no numbers", largest(made[clean], wanted), SINGLE
            yield f"n={n} {name} of a row of zeros", float(made[1].abs().max()), 0.0
            yield f"n={n} {name} of NaN is NaN", float(not made[[3, 5]].isnan().all()), 0.0
        x = x[clean]
        plain = triton_backend.forward(x.to(DEVICE), parameters, program)
        for factor in (-1.0, 2.0**100, 2.0**-100):
            scaled = triton_backend.forward((x * factor).to(DEVICE), parameters, program)
            yield f"n={n} times {factor} is the same bit for bit", float(not torch.equal(plain, scaled)), 0.0


def projection() -> Iterator[Case]:
    """The up-projection: dtypes, widths that fill no tile, many readouts, and a start at zero."""
    generator = torch.Generator().manual_seed(3)
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    for dtype, weight_dtype, (tokens, width, k), biased in product(
        dtypes, (torch.float32, torch.bfloat16), ((3, 20, 1), (65, 130, 11), (70, 257, 91)), (True, False)
    ):
        base = torch.randn(tokens, width, generator=generator).to(dtype)
        z = 2 * torch.rand(tokens, k, generator=generator) - 1
        weight = torch.randn(width, k, generator=generator).to(weight_dtype)
        bias = torch.randn(width, generator=generator).to(weight_dtype) if biased else None
        wanted = up_projection.add_up_projection(
            base.double(), z.double(), weight.double(), None if bias is None else bias.double(), 0.7
        )
        moved_base, moved_z = base.to(DEVICE), z.to(DEVICE)
        moved_bias = None if bias is None else bias.to(DEVICE)
        made = triton_backend.add_up_projection(moved_base, moved_z, weight.to(DEVICE), moved_bias, 0.7)
        name = f"{dtype} {weight_dtype} {tokens} {width} {k} {biased}"
        yield name, largest(made, wanted), max(SINGLE, torch.finfo(dtype).eps)
        zero = torch.zeros_like(weight, device=DEVICE)
        no_bias = None if moved_bias is None else torch.zeros_like(moved_bias)
        same = triton_backend.add_up_projection(moved_base, moved_z, zero, no_bias, 0.7)
        yield f"{name} at zero", float(not torch.equal(same.cpu(), base) or same.dtype != dtype), 0.0


def compiled() -> Iterator[Case]:
    """Compile ahead of time for a GPU that need not be here: what the interpreter accepts may not compile."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from amplitune.quantum.kernels import triton_circuit, triton_projection

    pointers = {
        "x_ptr": "*bf16",
        "dx_ptr": "*bf16",
        "base_ptr": "*bf16",
        "y_ptr": "*bf16",
        "table_ptr": "*i32",
    }
    scalars = {"tokens": "i32", "stride_z": "i32", "scaling": "fp32"}

    def size(kernel: Any, constants: dict[str, Any]) -> int:
        constants = dict(constants)
        names = {"num_warps", "num_stages", "enable_fp_fusion"} & constants.keys()
        options = {name: constants.pop(name) for name in names}
        signature = {
            name: pointers.get(name, "*fp32") if name.endswith("_ptr") else scalars.get(name, "constexpr")
            for name in kernel.arg_names
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        return len(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"])

    for n, depth, gate, readout in (
        (4, 2, "CNOT", "Z"),
        (3, 1, "CZ", "XYZ"),
        (2, 1, "CNOT", "probabilities"),
    ):
        program = program_of(Circuit(n, Ansatz(depth=depth, entangling_gate=gate), readout=readout))
        x = torch.empty(1, 2**n, dtype=torch.bfloat16)
        for backward in (False, True):
            constants = triton_backend.launches_of(program, shape_of(n, 2, backward), x)[0]
            kernel = triton_circuit.backward_kernel if backward else triton_circuit.forward_kernel
            if backward:
                constants |= {"CIRCUITS": 1, "NEED_X": True, **triton_backend.groups(constants)}
            yield f"n={n} {gate} {readout} {backward}", float(size(kernel, constants) == 0), 0.0
    constants = {
        "FEATURES": 256, "K": 11, "HAS_BIAS": True, "TOKENS": triton_projection.TOKENS,
        "WIDTH": triton_projection.WIDTH, "STEP": 16, "num_warps": triton_projection.WARPS,
    }  # fmt: skip
    yield "projection", float(size(triton_projection.projection_kernel, constants) == 0), 0.0


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "qubits": qubits,
    "structures": structures,
    "rows": rows,
    "projection": projection,
    "compile": compiled,
}

if __name__ == "__main__":
    json.dump({group: list(GROUPS[group]()) for group in sys.argv[1:]}, sys.stdout)
