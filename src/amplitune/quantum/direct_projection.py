"""The projected sum of a few tokens by one plain call of the native kernel, for generation token by token."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.kernels import native
from amplitune.quantum.kernels.dispatch import VARIABLE, overrides
from amplitune.quantum.measured import open_blocks
from amplitune.quantum.program import program_of
from amplitune.quantum.readout import INTERFEROMETRIC
from amplitune.quantum.watching import is_watched

_MOST_BOUND = 4096


@dataclass(frozen=True, slots=True)
class _Bound:
    """A call of the native kernel for weights that have been checked, as long as they lie where they do.

    No tensor is referred to, not even weakly: torch cannot swap the contents of one that is.

    Args:
        at: where the numbers of angles, weight and bias lie, 0 without a bias.
        dtype: of the three.
        angles: shape of the angles.
        weight: shape of the weight.
        circuit: the circuit.
        scaling: what the projection is multiplied by.
        x_dtype: dtype of x.
        base_dtype: dtype of base.
        features: width of x.
        run: the call.
    """

    at: tuple[int, int, int]
    dtype: torch.dtype
    angles: tuple[int, ...]
    weight: tuple[int, ...]
    circuit: Circuit
    scaling: float
    x_dtype: torch.dtype
    base_dtype: torch.dtype
    features: int
    run: native.Projection


#: By where the weight lies.
_bound: dict[int, _Bound] = {}


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
        tracers, transforms, subclasses of tensors, mixed dtypes of angles and W, numbers that do not lie side
        by side, and arguments that do not fit each other.
    """
    # Written out rather than divided into functions: a token's weights push this code out of the cache, and
    # what it takes then goes by the number of functions and objects that it touches.
    if is_watched(base, x, angles, weight, bias) or open_blocks[0] or overrides[-1] is not None:
        return None
    at = angles.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr()
    bound, shape, sums = _bound.get(at[1]), x.shape, base.shape
    if (
        bound is None
        or bound.at != at
        or bound.circuit is not circuit
        or bound.scaling != scaling
        or bound.angles != angles.shape
        or bound.weight != weight.shape
        or bound.dtype is not angles.dtype
        or bound.dtype is not weight.dtype
        or bound.x_dtype is not x.dtype
        or bound.base_dtype is not base.dtype
        or not (shape and bound.features == shape[-1])
    ):
        bound = _bind(at, base, x, angles, weight, bias, circuit, scaling)
        if bound is None:
            return None
    rows = x.numel() // bound.features
    d_out, columns = bound.weight
    # More rows than columns are the operator's.
    if (
        not 0 < rows <= columns
        or not (sums and sums[-1] == d_out and sums[:-1] == shape[:-1])
        or not (x.is_cpu and base.is_cpu and x.is_contiguous() and base.is_contiguous())
        or not (angles.is_contiguous() and weight.is_contiguous())
        or not (
            bias is None or (bias.dtype is bound.dtype and bias.numel() == d_out and bias.is_contiguous())
        )
    ):
        return None
    out = torch.empty_like(base)
    threads = 1 if rows == 1 else torch.get_num_threads()
    if bound.run(x.data_ptr(), rows, base.data_ptr(), out.data_ptr(), threads):
        raise MemoryError("the native kernel found no memory for its states")
    return out


def _bind(
    at: tuple[int, int, int],
    base: Tensor,
    x: Tensor,
    angles: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    circuit: Circuit,
    scaling: float,
) -> _Bound | None:
    """Check what stays from call to call; None where the native kernel cannot run it as it is."""
    dtype, held = weight.dtype, (angles, weight) if bias is None else (angles, weight, bias)
    of_kernel = (
        dtype in (torch.float32, torch.float64)
        and circuit.is_real
        and circuit.ansatz.rotations == 1
        and circuit.norm == "drop"
        and circuit.readout != INTERFEROMETRIC
        and os.environ.get(VARIABLE) in (None, "", "native")
    )
    # Nothing is bound for a call with more rows than columns.
    if not (of_kernel and x.ndim and weight.ndim == 2 and 0 < x.numel() <= weight.shape[1] * x.shape[-1]):
        return None
    program = program_of(circuit)
    if native.unsupported(program, x) is not None:
        return None
    (d_out, columns), features = weight.shape, x.shape[-1]
    circuits = columns // circuit.n_observables
    readable = {dtype, *(native.narrow() if dtype == torch.float32 else ())}
    if not (
        features <= 2**circuit.n_qubits
        and circuits * circuit.n_observables == columns
        and angles.shape == circuit.angle_shape(circuits)
        and (bias is None or bias.shape == (d_out,))
        and x.dtype in readable
        and base.dtype in readable
        and all(tensor.dtype == dtype and tensor.is_cpu and tensor.is_contiguous() for tensor in held)
    ):
        return None
    run = native.projection(
        program, at, circuits, weight.shape, dtype, scaling, features, x.dtype, base.dtype
    )
    bound = _Bound(
        at, dtype, angles.shape, weight.shape, circuit, scaling, x.dtype, base.dtype, features, run
    )
    if len(_bound) >= _MOST_BOUND:
        _bound.clear()
    _bound[at[1]] = bound
    return bound
