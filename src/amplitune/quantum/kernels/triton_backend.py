"""Host side of the Triton kernels: forward, backward and up-projection on NVIDIA GPUs."""

import importlib.util
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

from amplitune.quantum.kernels import reference, up_projection
from amplitune.quantum.kernels.triton_tables import Shape, flips_of, shape_of, tables_on, words_of
from amplitune.quantum.program import Program

#: Two warps hold the 2**13 amplitudes of a state in registers.
MOST_QUBITS = 13
#: Blocks of rotations of depth 8 with rotations before and after each entangler.
MOST_BLOCKS = 9

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def unsupported(program: Program, x: Tensor) -> str | None:
    """Tell why the Triton kernels cannot run a program.

    Args:
        program: the program.
        x: its input.

    Returns:
        The reason, or None.
    """
    if x.device.type != "cuda" or torch.version.hip is not None:
        return f"it runs on an NVIDIA GPU, and the input is on {x.device.type}"
    if torch.cuda.get_device_capability(x.device) < (8, 0):
        return "it runs on GPUs of compute capability 8.0 or more"
    return unsupported_program(program, x) or _missing()


def unsupported_program(program: Program, x: Tensor) -> str | None:
    """Tell why the Triton kernels cannot run a program on any device; see `unsupported`."""
    if x.dtype not in _DTYPES:
        return f"it runs float32, bfloat16 and float16, and the input is {x.dtype}"
    if not program.is_real:
        return "it runs real circuits only (RY, CNOT and CZ)"
    if any(steps != "E" for steps in program.between):
        return "it does not run re-uploading"
    if program.n_qubits > MOST_QUBITS:
        return f"it runs up to {MOST_QUBITS} qubits, and the circuit has {program.n_qubits}"
    if program.blocks > MOST_BLOCKS:
        return f"it runs up to {MOST_BLOCKS} blocks of rotations, and the circuit has {program.blocks}"
    return None


def forward(x: Tensor, angles: Tensor, program: Program) -> Tensor:
    """Compute a program's readouts in one pass over the rows for each circuit.

    Args:
        x: real, shape (tokens, features), float32, bfloat16 or float16.
        angles: as `block_parameters` gives them, (circuits, blocks, n_qubits); float64 is left to torch.
        program: the program.

    Returns:
        Shape (tokens, circuits * m), in the compute dtype; zeros for a row of zeros.
    """
    if angles.dtype not in _DTYPES:
        # Double precision is asked for by the angles alone, which `unsupported` does not see.
        return reference.forward(x, angles, program)
    tokens, circuits, m = x.shape[0], angles.shape[0], program.n_observables
    z = torch.empty(tokens, circuits * m, dtype=torch.float32, device=x.device)
    if tokens == 0:
        return z
    shape = shape_of(program.n_qubits, x.element_size(), backward=False)
    x, angles = x.contiguous(), angles.contiguous()
    table = tables_on(program, shape, x.device)
    programs = _programs(tokens, shape, x.device)
    with _on(x.device):
        for constants in launches_of(program, shape, x):
            _circuit_kernels().forward_kernel[programs, circuits](
                x, angles, table, z, tokens, circuits * m, **constants
            )
    return z


def backward(
    grad_z: Tensor, x: Tensor, angles: Tensor, program: Program, needs_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Recompute a program's states from the rows alone and take gradients, in one pass over the rows.

    Each thread block writes its own sums of dL/dangles; they are added in a fixed order, without atomics, so
    the result is the same each time.

    Args:
        grad_z: dL/dz, shape (tokens, circuits * m).
        x: real, shape (tokens, features), float32, bfloat16 or float16.
        angles: as `block_parameters` gives them.
        program: the program.
        needs_x: whether dL/dx is wanted.

    Returns:
        dL/dx in the dtype of `x`, or None; dL/dangles in the dtype of `angles`; and z once more.
    """
    if angles.dtype not in _DTYPES:
        return reference.backward(grad_z, x, angles, program, needs_x)
    (tokens, _), circuits, m = x.shape, angles.shape[0], program.n_observables
    z = torch.empty(tokens, circuits * m, dtype=torch.float32, device=x.device)
    if tokens == 0:
        return torch.empty_like(x) if needs_x else None, torch.zeros_like(angles), z
    shape = shape_of(program.n_qubits, x.element_size(), backward=True)
    x, angles, grad_z = x.contiguous(), angles.contiguous(), grad_z.float().contiguous()
    table = tables_on(program, shape, x.device)
    programs = _programs(tokens, shape, x.device)
    launches = launches_of(program, shape, x)
    partial = torch.empty(len(launches), programs, *angles.shape, dtype=torch.float32, device=x.device)
    # Several launches each give a part of dL/dx, which must not be rounded before the parts are added.
    dtype = x.dtype if len(launches) == 1 else torch.float32
    rows = (len(launches), *x.shape) if needs_x else (len(launches), 0, 0)
    dx = torch.empty(rows, dtype=dtype, device=x.device)
    with _on(x.device):
        for launch, constants in enumerate(launches):
            _circuit_kernels().backward_kernel[(programs,)](
                grad_z, x, angles, table, dx[launch], partial[launch], z, tokens, circuits * m,
                CIRCUITS=circuits, NEED_X=needs_x, **groups(constants), **constants,
            )  # fmt: skip
    total = dx[0] if len(launches) == 1 else dx.sum(dim=0).to(x.dtype)
    return total if needs_x else None, partial.sum(dim=(0, 1)).to(angles.dtype), z


def add_up_projection(base: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None, scaling: float) -> Tensor:
    """Project readouts up and add them, in one read and one write of the base layer's output.

        y = base + s (W z + b)

    Its gradients need no kernel: dL/dbase is dL/dy itself, and dL/dz = s dL/dy W, dL/dW = s (dL/dy)^T z and
    dL/db are matrix products that read dL/dy once each.

    Args:
        base: shape (tokens, d_out), any float dtype.
        z: readouts, shape (tokens, k).
        weight: W, shape (d_out, k).
        bias: b, shape (d_out,), or None.
        scaling: s.

    Returns:
        y in the dtype of `base`; sums are made in float32, or by torch where an argument is float64.
    """
    arguments = [base, z, weight] if bias is None else [base, z, weight, bias]
    if any(argument.dtype not in _DTYPES for argument in arguments) or not base.numel() or not z.numel():
        return up_projection.add_up_projection(base, z, weight, bias, scaling)
    base, z, weight = base.contiguous(), z.contiguous(), weight.contiguous()
    y = torch.empty_like(base)
    (tokens, width), k = base.shape, z.shape[1]
    kernel = _projection_kernel()
    grid = (-(-tokens // kernel.TOKENS) * -(-width // kernel.WIDTH),)
    with _on(base.device):
        kernel.projection_kernel[grid](
            base, z, weight, weight if bias is None else bias.contiguous(), y, tokens, float(scaling),
            FEATURES=width, K=k, HAS_BIAS=bias is not None, TOKENS=kernel.TOKENS, WIDTH=kernel.WIDTH,
            STEP=min(32, max(16, 1 << (k - 1).bit_length())), num_warps=kernel.WARPS, num_stages=1,
        )  # fmt: skip
    return y


def launches_of(program: Program, shape: Shape, x: Tensor) -> list[dict[str, Any]]:
    """The constants of each launch: as many words as the registers of z and the time to compile allow."""
    most = max(8, min(128, 2048 // shape.tokens))
    return [
        {
            "FEATURES": x.shape[1],
            "N": program.n_qubits,
            "BLOCKS": program.blocks,
            "SIGNS": program.entangling_gate == "CZ",
            "FLIPS": flips_of(program, shape.head, shape.tail),
            "WORDS": words,
            "M": len(words) // 3,
            "COLUMNS": 1 << max(0, len(words) // 3 - 1).bit_length(),
            "OFFSET": launch * most,
            "STEP": program.n_observables,
            "H": shape.head,
            "L": shape.tail,
            "REST": shape.rest,
            "T": shape.tokens,
            "num_warps": shape.warps,
            "num_stages": 1,
            # Without it a rotation would cost twice the instructions; Triton's default is about to change.
            "enable_fp_fusion": True,
        }
        for launch, words in enumerate(words_of(program, shape.head, shape.tail, most))
    ]


def groups(constants: dict[str, Any]) -> dict[str, Any]:
    """The constants of the backward kernel that say which words it adds up first, from those of a launch."""
    n = constants["N"]
    top = min(3, n - constants["REST"])
    flips, masks = constants["WORDS"][::3], constants["WORDS"][1::3]
    uppers = {mask >> (n - top) for flip, mask in zip(flips, masks, strict=True) if flip == 0}
    return {"GROUPS": tuple(sorted(uppers)), "TOP": top}


def _programs(tokens: int, shape: Shape, device: torch.device) -> int:
    """Thread blocks: as many as can be resident, so that each computes its sines once for many tokens."""
    blocks = -(-tokens // shape.tokens)
    if device.type != "cuda":
        # Under the interpreter: few, so that each takes several blocks of tokens.
        return min(blocks, 2)
    # 65,536 registers of a multiprocessor over 128 for each thread.
    return min(blocks, _multiprocessors(device) * max(1, 16 // shape.warps))


@cache
def _multiprocessors(device: torch.device) -> int:
    """The number of multiprocessors of a device."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Make a device the current one: Triton launches there."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@cache
def _missing() -> str | None:
    """Tell whether Triton is missing, without importing it."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (pip install 'amplitune[triton]')"
    return None


@cache
def _circuit_kernels() -> Any:
    """The circuit's kernels; Triton is imported when they first run."""
    from amplitune.quantum.kernels import triton_circuit

    return triton_circuit


@cache
def _projection_kernel() -> Any:
    """The up-projection's kernel, likewise."""
    from amplitune.quantum.kernels import triton_projection

    return triton_projection
