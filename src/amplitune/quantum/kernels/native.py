"""The native kernel: a token's whole forward and backward on a CPU while its state is in cache."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from amplitune.quantum.kernels.native_build import load
from amplitune.quantum.kernels.native_tables import Tables, tables
from amplitune.quantum.precision import compute_dtype
from amplitune.quantum.program import Program

#: The largest state, of 2**16 amplitudes, has long left the cache.
MOST_QUBITS = 16

_MOST_TABLES = 256

_TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}


def unavailable() -> str | None:
    """Tell why this machine has no native kernel; the first call may compile for some seconds.

    Returns:
        The reason, or None.
    """
    library = load()
    return library if isinstance(library, str) else None


def unsupported(program: Program, x: Tensor) -> str | None:
    """Tell why the native kernel cannot run a program.

    Args:
        program: the program.
        x: its input.

    Returns:
        The reason, or None.
    """
    if x.device.type != "cpu":
        return f"it runs on a CPU, and the input is on {x.device.type}"
    if not program.is_real:
        return "it runs real circuits only (RY, CNOT and CZ)"
    if any(steps != "E" for steps in program.between):
        return "it does not run re-uploading"
    if program.probabilities or any(word.x for word in program.words):
        return "it measures Pauli words of Z only, after the last entangler is folded into them"
    if program.n_qubits > MOST_QUBITS:
        return f"it runs up to {MOST_QUBITS} qubits, and the circuit has {program.n_qubits}"
    return unavailable()


def forward(x: Tensor, angles: Tensor, program: Program) -> Tensor:
    """Compute a program's readouts.

    Args:
        x: real, shape (tokens, features), any float dtype.
        angles: as `block_parameters` gives them, shape (circuits, blocks, n_qubits), or with dimensions of
            size 1 in between.
        program: the program.

    Returns:
        Shape (tokens, circuits * m), in the compute dtype; zeros for a row of zeros.
    """
    return _run(_readable(x), angles, program, None, None, None)


class _Bound(ctypes.Structure):
    """What native.c calls Bound."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("tables", "angles", "weight", "bias")),
        ("scaling", ctypes.c_double),
        *((name, ctypes.c_int64) for name in ("features", "d_out")),
        *((name, ctypes.c_int32) for name in ("circuits", "compute_double", "x_type", "base_type")),
    )


Projection = Callable[[int, int, int, int, int], int]


def projection(
    program: Program,
    at: tuple[int, int, int],
    circuits: int,
    size: Sequence[int],
    dtype: torch.dtype,
    scaling: float,
    features: int,
    x_dtype: torch.dtype,
    base_dtype: torch.dtype,
) -> Projection:
    """Make the call that runs a program on a few rows and adds what its readouts are projected up to.

    Angles (circuits, blocks, n_qubits), weight (d_out, circuits * m) and bias (d_out,) are read where they
    lie; the caller keeps them there for as long as a call takes. All are contiguous, on the CPU and checked
    by the caller: of one dtype, but base and x of float32 may be of one of `narrow` instead.

    Args:
        program: the program.
        at: addresses of angles, weight and bias, 0 without a bias.
        circuits: number of circuits.
        size: shape of the weight.
        dtype: of the three.
        scaling: what the projection is multiplied by.
        features: width of x.
        x_dtype: dtype of x.
        base_dtype: dtype of base.

    Returns:
        Takes the address of x (rows, features), rows, the addresses of base and of y (rows, d_out), and the
        number of threads; writes y as `project` computes it, and gives whether memory for the states lacked.
    """
    library: Any = load()
    double = dtype == torch.float64
    plan = _tables_of(program, double)
    bound = _Bound(
        plan.address, at[0], at[1], at[2] or None, scaling, features, size[0], circuits, double,
        _TYPES[x_dtype], _TYPES[base_dtype],
    )  # fmt: skip
    call: Any = partial(library.amplitune_project, ctypes.addressof(bound))
    call.kept = (bound, plan)
    run: Projection = call
    return run


@cache
def narrow() -> frozenset[torch.dtype]:
    """List the dtypes of half precision that the library reads."""
    library: Any = load()
    half = () if isinstance(library, str) or not library.amplitune_has_half() else (torch.float16,)
    return frozenset((torch.bfloat16, *half))


def backward(
    grad_z: Tensor, x: Tensor, angles: Tensor, program: Program, needs_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Recompute a program's states, a token at a time, and take gradients.

    Args:
        grad_z: dL/dz, shape (tokens, circuits * m).
        x: real, shape (tokens, features).
        angles: as `block_parameters` gives them.
        program: the program.
        needs_x: whether dL/dx is wanted.

    Returns:
        dL/dx in the dtype of `x`, or None; dL/dangles in the dtype of `angles`; and z once more.
    """
    rows = _readable(x)
    dx = torch.empty(x.shape, dtype=rows.dtype) if needs_x else None
    dangles = torch.empty(angles.shape, dtype=compute_dtype(x, angles))
    z = _run(rows, angles, program, grad_z, dx, dangles)
    return None if dx is None else dx.to(x.dtype), dangles.to(angles.dtype), z


def _readable(x: Tensor) -> Tensor:
    """Rows that the library can read: numbers of a row beside each other, and no float16 if it has none."""
    library: Any = load()
    if x.dtype == torch.float16 and not library.amplitune_has_half():
        x = x.float()
    return x if x.stride(1) == 1 else x.contiguous()


#: By identity, with the program itself so that the identity stays its own: to hash a program of many words
#: takes as long as to run it on a token.
_tables: dict[tuple[int, bool], tuple[Program, Tables]] = {}


def _tables_of(program: Program, double: bool) -> Tables:
    """The tables of a program, made once."""
    known = _tables.get((id(program), double))
    if known is not None:
        return known[1]
    library: Any = load()
    made = tables(program, library.amplitune_lanes(double), library.amplitune_widest())
    if len(_tables) >= _MOST_TABLES:
        _tables.clear()
    _tables[id(program), double] = program, made
    return made


def _run(
    x: Tensor,
    angles: Tensor,
    program: Program,
    grad_z: Tensor | None,
    dx: Tensor | None,
    dangles: Tensor | None,
) -> Tensor:
    """Call the library; its threads are as many as torch's, and it lets go of the interpreter's lock."""
    # A single token feels the time of calls that change nothing.
    library: Any = load()
    dtype = compute_dtype(x, angles)
    double = dtype == torch.float64
    plan = _tables_of(program, double)
    if angles.dtype != dtype or not angles.is_contiguous():
        angles = angles.detach().to(dtype).contiguous()
    tokens, features = x.shape
    circuits = angles.shape[0]
    z = torch.empty(tokens, circuits * program.n_observables, dtype=dtype)
    if grad_z is not None:
        grad_z = grad_z.to(dtype).contiguous()
    status = library.amplitune_run(
        plan.address, double, x.data_ptr(), _TYPES[x.dtype], x.stride(0), tokens, features, angles.data_ptr(),
        circuits, None if grad_z is None else grad_z.data_ptr(), z.data_ptr(),
        None if dx is None else dx.data_ptr(), None if dangles is None else dangles.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    if status:
        raise MemoryError("the native kernel found no memory for its states")
    return z
