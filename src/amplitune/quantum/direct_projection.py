"""The projected sum of a few tokens by one plain call of the native kernel, for generation token by token."""

import os
from dataclasses import dataclass
from weakref import ReferenceType, ref

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.kernels import dispatch, native
from amplitune.quantum.measured import active
from amplitune.quantum.program import program_of
from amplitune.quantum.readout import INTERFEROMETRIC
from amplitune.quantum.watching import is_watched

_MOST_BOUND = 4096


@dataclass(frozen=True, slots=True)
class _Bound:
    """A call of the native kernel for weights that have been checked, as long as they stay where they are.

    Args:
        angles: the angles' tensor.
        bias: the bias' tensor; None where there is none.
        weight: the weight's tensor.
        at: where their numbers lie.
        circuit: the circuit.
        scaling: what the projection is multiplied by.
        x_dtype: dtype of x.
        base_dtype: dtype of base.
        features: width of x.
        d_out: width of base.
        run: the call.
    """

    angles: ReferenceType[Tensor]
    bias: ReferenceType[Tensor] | None
    weight: ReferenceType[Tensor]
    at: tuple[int, int, int]
    circuit: Circuit
    scaling: float
    x_dtype: torch.dtype
    base_dtype: torch.dtype
    features: int
    d_out: int
    run: native.Projection


#: By identity of the weight.
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
    if (
        is_watched(base, x, angles, weight, bias)
        or active() is not None
        or dispatch.override() is not None
        or not (x.is_cpu and base.is_cpu and x.is_contiguous() and base.is_contiguous())
        # More rows than columns are the operator's: nothing is bound for them.
        or not (x.ndim and weight.ndim == 2 and 0 < x.numel() <= weight.shape[1] * x.shape[-1])
    ):
        return None
    bound = _bound.get(id(weight))
    if (
        bound is None
        or bound.weight() is not weight
        or bound.angles() is not angles
        or (bias is not None if bound.bias is None else bound.bias() is not bias)
        or bound.at != (angles.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr())
        or bound.circuit is not circuit
        or bound.scaling != scaling
        or bound.x_dtype is not x.dtype
        or bound.base_dtype is not base.dtype
    ):
        bound = _bind(base, x, angles, weight, bias, circuit, scaling)
        if bound is None:
            return None
    shape, features = x.shape, bound.features
    if not (shape[-1] == features and base.shape[-1] == bound.d_out and base.shape[:-1] == shape[:-1]):
        return None
    return bound.run(base, x, x.numel() // features)


def _bind(
    base: Tensor,
    x: Tensor,
    angles: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    circuit: Circuit,
    scaling: float,
) -> _Bound | None:
    """Check what stays from call to call; None where the native kernel cannot run it as it is."""
    dtype = weight.dtype
    of_kernel = (
        dtype in (torch.float32, torch.float64)
        and circuit.is_real
        and circuit.ansatz.rotations == 1
        and circuit.norm == "drop"
        and circuit.readout != INTERFEROMETRIC
        and os.environ.get(dispatch.VARIABLE) in (None, "", "native")
    )
    if not of_kernel:
        return None
    program = program_of(circuit)
    if native.unsupported(program, x) is not None:
        return None
    d_out, columns = weight.shape
    features, circuits = x.shape[-1], columns // circuit.n_observables
    held = (angles, weight) if bias is None else (angles, weight, bias)
    readable = {dtype, *(native.narrow() if dtype == torch.float32 else ())}
    if not (
        0 < features <= 2**circuit.n_qubits
        and circuits * circuit.n_observables == columns
        and angles.shape == circuit.angle_shape(circuits)
        and (bias is None or bias.shape == (d_out,))
        and x.dtype in readable
        and base.dtype in readable
        and all(tensor.dtype == dtype and tensor.is_cpu and tensor.is_contiguous() for tensor in held)
    ):
        return None
    bound = _Bound(
        ref(angles),
        None if bias is None else ref(bias),
        ref(weight),
        (angles.data_ptr(), weight.data_ptr(), 0 if bias is None else bias.data_ptr()),
        circuit,
        scaling,
        x.dtype,
        base.dtype,
        features,
        d_out,
        native.projection(program, angles, weight, bias, scaling, features, x.dtype, base.dtype),
    )
    if len(_bound) >= _MOST_BOUND:
        _bound.clear()
    _bound[id(weight)] = bound
    return bound
