"""The projected sum of a few tokens by plain calls of the native kernel, for generation token by token."""

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import flattened
from amplitune.quantum.kernels import native
from amplitune.quantum.kernels.dispatch import is_overridden
from amplitune.quantum.measured import active
from amplitune.quantum.program import Program, program_of
from amplitune.quantum.readout import INTERFEROMETRIC
from amplitune.quantum.watching import is_watched

_MOST_CIRCUITS = 256

#: A circuit, the program if it can be run here, the width of a state, m, the shape of one circuit's angles.
_Run = tuple[Circuit, Program | None, int, int, tuple[int, int, int]]

#: By identity of the circuit; it is kept itself so that the identity stays its own.
_runs: dict[int, _Run] = {}


def project_directly(
    base: Tensor,
    x: Tensor,
    angles: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    circuit: Circuit,
    scaling: float,
) -> Tensor | None:
    """Compute what `project` computes, without operators, where nobody asks for more than the values.

    An operator, its autograd function and the contexts around it take several times as long as the circuit
    of one token. Here are the same sums in the same precision; what does not fit is left to `project`, with
    the errors that it raises.

    Args:
        base: shape (..., d_out).
        x: shape (..., features).
        angles: radians, shape (circuits, depth, 1, n_qubits).
        weight: W, shape (d_out, circuits * m).
        bias: b, shape (d_out,), or None.
        circuit: the circuit.
        scaling: s.

    Returns:
        y, or None: for more tokens than W has columns, another kernel than the native one, gradients,
        tracers, transforms, subclasses of tensors, mixed dtypes of angles and W, and arguments that do not
        fit each other.
    """
    if is_watched(base, x, angles, weight, bias) or is_overridden():
        return None
    known = _runs.get(id(circuit)) or _remembered(circuit)
    _, program, width, m, angle_shape = known
    if program is None or weight.ndim != 2 or x.ndim == 0 or active() is not None:
        return None
    d_out, columns = weight.shape
    leading, features = x.shape[:-1], x.shape[-1]
    rows = leading.numel()
    dtype = weight.dtype
    if not (
        0 < rows <= columns
        and 0 < features <= width
        and x.is_cpu
        and base.is_cpu
        and weight.is_cpu
        and angles.is_cpu
        and dtype in _WIDE
        and (x.dtype == dtype or (dtype == torch.float32 and x.dtype in _NARROW))
        and angles.dtype == dtype
        and angles.shape == (columns // m, *angle_shape)
        and columns % m == 0
        and base.shape == (*leading, d_out)
        and (bias is None or (bias.dtype == dtype and bias.shape == (d_out,) and bias.is_cpu))
        and not torch.is_autocast_enabled("cpu")
    ):
        return None
    z = native.forward(x.view(rows, features) if x.is_contiguous() else flattened(x), angles, program)
    if rows > 1:
        up = torch.nn.functional.linear(z, weight, bias).view(base.shape)
    elif bias is None:
        up = torch.mv(weight, z.view(columns))
    else:
        up = torch.addmv(bias, weight, z.view(columns))
    out = torch.add(base, up, alpha=scaling)
    return out if out.dtype == base.dtype else out.to(base.dtype)


_WIDE = (torch.float32, torch.float64)
_NARROW = (torch.bfloat16, torch.float16)


def _remembered(circuit: Circuit) -> _Run:
    """What is known of a circuit; its program only if the native kernel runs it on the angles as they are."""
    program = program_of(circuit)
    fits = (
        circuit.is_real
        and circuit.ansatz.rotations == 1
        and circuit.norm == "drop"
        and circuit.readout != INTERFEROMETRIC
        and native.unsupported(program, torch.empty(0, 1)) is None
    )
    if len(_runs) >= _MOST_CIRCUITS:
        _runs.clear()
    known = circuit, program if fits else None, 2**circuit.n_qubits, circuit.n_observables
    _runs[id(circuit)] = run = *known, circuit.angle_shape()[1:]
    return run
