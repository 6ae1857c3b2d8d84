"""The projected sum of a few tokens by one plain call of the native kernel, for generation token by token."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.kernels import dispatch, native
from amplitune.quantum.measured import active
from amplitune.quantum.program import program_of
from amplitune.quantum.readout import INTERFEROMETRIC
from amplitune.quantum.watching import is_watched

_MOST_CIRCUITS = 256


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is known of a circuit.

    Args:
        circuit: itself, so that its identity stays its own.
        runs: dtype of the angles -> the native kernel for them; none where it cannot run the circuit on the
            angles as they are, or another kernel was asked for.
        width: 2**n.
        m: values of one circuit.
        angle_shape: shape of one circuit's angles.
    """

    circuit: Circuit
    runs: dict[torch.dtype, native.Projection]
    width: int
    m: int
    angle_shape: tuple[int, int, int]


#: By identity of the circuit: to hash one takes longer than to run it on a token.
_plans: dict[int, _Plan] = {}


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
    if is_watched(base, x, angles, weight, bias) or active() is not None:
        return None
    plan = _plans.get(id(circuit)) or _planned(circuit)
    dtype = weight.dtype
    run = plan.runs.get(dtype)
    if run is None or dispatch.override() is not None:
        return None
    shape, weight_shape = x.shape, weight.shape
    if len(weight_shape) != 2 or not shape:
        return None
    d_out, columns = weight_shape
    features = shape[-1]
    circuits = columns // plan.m
    if not (
        0 < features <= plan.width
        and 0 < x.numel() <= columns * features
        and (x.dtype == dtype or (dtype == torch.float32 and x.dtype in native.narrow()))
        and (base.dtype == dtype or (dtype == torch.float32 and base.dtype in native.narrow()))
        and angles.dtype == dtype
        and angles.shape == (circuits, *plan.angle_shape)
        and circuits * plan.m == columns
        and base.shape == (*shape[:-1], d_out)
        and (
            bias is None
            or (bias.dtype == dtype and bias.shape == (d_out,) and bias.is_cpu and bias.is_contiguous())
        )
        and x.is_cpu
        and base.is_cpu
        and weight.is_cpu
        and angles.is_cpu
        and x.is_contiguous()
        and base.is_contiguous()
        and weight.is_contiguous()
        and angles.is_contiguous()
    ):
        return None
    return run(base, x, angles, weight, bias, scaling, circuits)


def _planned(circuit: Circuit) -> _Plan:
    program = program_of(circuit)
    fits = (
        circuit.is_real
        and circuit.ansatz.rotations == 1
        and circuit.norm == "drop"
        and circuit.readout != INTERFEROMETRIC
        and native.unsupported(program, torch.empty(0, 1)) is None
        and os.environ.get(dispatch.VARIABLE) in (None, "", "native")
    )
    dtypes = (torch.float32, torch.float64) if fits else ()
    if len(_plans) >= _MOST_CIRCUITS:
        _plans.clear()
    plan = _Plan(
        circuit,
        {dtype: native.projection(program, dtype) for dtype in dtypes},
        2**circuit.n_qubits,
        circuit.n_observables,
        circuit.angle_shape()[1:],
    )
    _plans[id(circuit)] = plan
    return plan
