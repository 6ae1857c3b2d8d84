"""A circuit's readouts projected up and added to a base layer's output, as one operator or in two."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from amplitune.errors import ConfigError
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.differentiation import gradients
from amplitune.quantum.direct_projection import project_directly
from amplitune.quantum.encoding import flattened
from amplitune.quantum.kernels.dispatch import choose
from amplitune.quantum.kernels.up_projection import add_up_projection
from amplitune.quantum.measured import active
from amplitune.quantum.operators import operator_parameters, row_by_row, run
from amplitune.quantum.precision import without_autocast
from amplitune.quantum.program import program_of
from amplitune.quantum.readout import INTERFEROMETRIC
from amplitune.quantum.statevector import check_arguments
from amplitune.quantum.watching import is_watched


@torch.library.custom_op("amplitune::project", mutates_args=())
def project_op(
    base: Tensor,
    x: Tensor,
    parameters: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    circuit: str,
    scaling: float,
) -> Tensor:
    """Compute base + scaling * (W z + b), z the readouts of x: (..., d_out)."""
    described = Circuit.from_key(circuit)
    # A few tokens have their sums in one order, with gradients or without. Parameters of RY are its angles.
    angles = parameters.unsqueeze(2)
    if (direct := project_directly(base, x, angles, weight, bias, described, scaling)) is not None:
        return direct
    z = run(flattened(x), parameters, described)
    return _added(base, z, weight, bias, described, scaling)


@torch.library.custom_op("amplitune::project_values", mutates_args=())
def project_values_op(
    base: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None, circuit: str, scaling: float
) -> Tensor:
    """Compute base + scaling * (W z + b) for readouts z: (..., d_out)."""
    return _added(base, flattened(z), weight, bias, Circuit.from_key(circuit), scaling)


def _added(
    base: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None, circuit: Circuit, scaling: float
) -> Tensor:
    rows = flattened(base)
    linear = circuit.readout == INTERFEROMETRIC
    add = add_up_projection if linear else choose(program_of(circuit), rows).add_up_projection
    with without_autocast(base.device):
        return add(rows, z, weight, bias, scaling).reshape(base.shape)


@project_op.register_fake
def _(
    base: Tensor,
    x: Tensor,
    parameters: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    circuit: str,
    scaling: float,
) -> Tensor:
    return torch.empty_like(base, memory_format=torch.contiguous_format)


@project_values_op.register_fake
def _(base: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None, circuit: str, scaling: float) -> Tensor:
    return torch.empty_like(base, memory_format=torch.contiguous_format)


project_op.register_vmap(row_by_row(project_op))
project_values_op.register_vmap(row_by_row(project_values_op))


class Project(torch.autograd.Function):
    """The projected sum; keeps x, the parameters and W, and recomputes z beside the states."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        """Compute the sum, shape (..., d_out)."""
        return project_op(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the gradients need."""
        _, x, parameters, weight, bias, ctx.circuit, ctx.scaling = inputs
        ctx.save_for_backward(x, parameters, weight)
        ctx.bias_dtype = None if bias is None else bias.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Take the gradients, in the dtype of the readouts at least, whatever the model's is."""
        x, parameters, weight = ctx.saved_tensors
        needs_base, needs_x, needs_parameters, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        dx = dparameters = dweight = dbias = None
        with without_autocast(grad.device):
            real = parameters.real.dtype if parameters.is_complex() else parameters.dtype
            dtype = torch.promote_types(real, weight.dtype)
            wide = grad.to(dtype)
            if needs_x or needs_parameters or needs_weight:
                dz = (wide @ (weight.to(dtype) * ctx.scaling)).to(real)
                dx, dparameters, z = gradients(dz, x, parameters, ctx.circuit, needs_x)
                if needs_weight:
                    dweight, dbias = _weight_gradients(wide, z, weight.dtype, ctx.scaling)
            if needs_bias and dbias is None:
                dbias = flattened(wide).sum(dim=0) * ctx.scaling
            dbias = dbias.to(ctx.bias_dtype) if needs_bias and dbias is not None else None
        return grad if needs_base else None, dx if needs_x else None, dparameters, dweight, dbias, None, None


class ProjectValues(torch.autograd.Function):
    """The projected sum of readouts that were computed before; keeps them and W."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        """Compute the sum, shape (..., d_out)."""
        return project_values_op(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the gradients need."""
        _, z, weight, bias, _, ctx.scaling = inputs
        ctx.save_for_backward(z, weight)
        ctx.bias_dtype = None if bias is None else bias.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Take the gradients, in the dtype of the readouts at least, whatever the model's is."""
        z, weight = ctx.saved_tensors
        needs_base, needs_z, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        dz = dweight = dbias = None
        with without_autocast(grad.device):
            dtype = torch.promote_types(z.dtype, weight.dtype)
            wide = grad.to(dtype)
            if needs_z:
                dz = (wide @ (weight.to(dtype) * ctx.scaling)).to(z.dtype)
            if needs_weight:
                dweight, dbias = _weight_gradients(wide, z, weight.dtype, ctx.scaling)
            elif needs_bias:
                dbias = flattened(wide).sum(dim=0) * ctx.scaling
            dbias = dbias.to(ctx.bias_dtype) if needs_bias and dbias is not None else None
        return grad if needs_base else None, dz, dweight, dbias, None, None


def _weight_gradients(grad: Tensor, z: Tensor, dtype: torch.dtype, scaling: float) -> tuple[Tensor, Tensor]:
    """Take the gradients by W and b, in one pass over the gradient of the sum."""
    # The bias has its gradient from a readout of 1, with no pass of its own over `grad`.
    padded = torch.nn.functional.pad(flattened(z).to(grad.dtype), (0, 1), value=1.0) * scaling
    both = (padded.T @ flattened(grad)).to(dtype)
    # A view would keep all of `both` alive as long as the bias has its gradient.
    return both[:-1].T, both[-1].clone()


def project_values(
    base: Tensor, z: Tensor, weight: Tensor, bias: Tensor | None, circuit: Circuit, scaling: float = 1.0
) -> Tensor:
    """Project readouts, which may serve several layers, up and add them to a base layer's output.

        y = base + s (W z + b)

    Besides the arguments, nothing is kept for the backward pass.

    Args:
        base: shape (..., d_out), any float dtype.
        z: what `expectation` gave, shape (..., circuits * m).
        weight: W, shape (d_out, circuits * m).
        bias: b, shape (d_out,), or None.
        circuit: the circuit that was run.
        scaling: s.

    Returns:
        y, of the shape and dtype of `base`; equal to that of `project`.

    Raises:
        ConfigError: `base`, `weight` or `bias` has a shape that does not fit, is no float, or is on another
            device.
    """
    _check_fit(base, z, z.shape[-1], weight, bias, "z")
    if is_watched(base, z, weight, bias):
        add = ProjectValues.apply if _differentiates() else project_values_op
        out: Tensor = add(base, z, weight, bias, circuit.key, float(scaling))
        return out
    return _added(base, flattened(z), weight, bias, circuit, scaling)


def project(
    base: Tensor,
    x: Tensor,
    angles: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    circuit: Circuit,
    scaling: float = 1.0,
) -> Tensor:
    """Run circuits, project their readouts up and add them to a base layer's output.

        y = base + s (W z + b),   z = expectation(x, angles, circuit)

    The readouts are neither written beside the output nor kept for the backward pass: besides the arguments,
    nothing is.

    Args:
        base: shape (..., d_out), any float dtype.
        x: real, shape (..., features), any float dtype; features at most 2**n.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits).
        weight: W, shape (d_out, circuits * m).
        bias: b, shape (d_out,), or None.
        circuit: the circuit.
        scaling: s.

    Returns:
        y, of the shape and dtype of `base`.

    Raises:
        ConfigError: as `expectation`; or `base`, `weight` or `bias` has a shape that does not fit, is no
            float, or is on another device.

    Source:
        arXiv 2509.16244 (QAA).

    Example:
        >>> circuit = Circuit(2)
        >>> x, base = torch.tensor([[0.0, 3.0, 4.0]]), torch.ones(1, 2)
        >>> project(base, x, torch.zeros(circuit.angle_shape()), torch.eye(2), None, circuit)
        tensor([[1.2800, 0.0000]])
    """
    if (direct := project_directly(base, x, angles, weight, bias, circuit, scaling)) is not None:
        return direct
    check_arguments(x, angles, circuit)
    _check_fit(base, x, angles.shape[0] * circuit.n_observables, weight, bias)
    if (evaluation := active()) is not None:
        z = evaluation.expectation(x, angles, circuit)
        up = torch.nn.functional.linear(z.to(torch.promote_types(z.dtype, weight.dtype)), weight, bias)
        return (base + scaling * up).to(base.dtype)
    parameters = operator_parameters(x, angles, circuit)
    if is_watched(base, x, parameters, weight, bias):
        add = Project.apply if _differentiates() else project_op
        out: Tensor = add(base, x, parameters, weight, bias, circuit.key, float(scaling))
        return out
    # The operator and its autograd function would only cost their own time, which a single token feels.
    return _added(base, run(flattened(x), parameters, circuit), weight, bias, circuit, scaling)


def _differentiates() -> bool:
    """Whether derivatives may be asked for: `no_grad` leaves forward-mode differentiation on."""
    # The operator would drop a tangent in silence; the autograd function, without a rule for it, raises.
    return torch.is_grad_enabled() or forward_ad._current_level >= 0


def _check_fit(
    base: Tensor, x: Tensor, columns: int, weight: Tensor, bias: Tensor | None, name_of_x: str = "x"
) -> None:
    expected = {
        "base": (base, (*x.shape[:-1], base.shape[-1])),
        "weight": (weight, (base.shape[-1], columns)),
        **({} if bias is None else {"bias": (bias, (base.shape[-1],))}),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ConfigError(
                f"`{name}` must have the shape {tuple(shape)} beside the other arguments, but has the shape "
                f"{tuple(tensor.shape)}. Give base (..., d_out), x (..., features), weight "
                "(d_out, circuits * m) and bias (d_out,)."
            )
        if not tensor.is_floating_point():
            raise ConfigError(
                f"`{name}` must have a float dtype, but has {tensor.dtype}. Convert it with {name}.float()."
            )
        if tensor.device != x.device:
            raise ConfigError(
                f"`{name}` must be on the device of `{name_of_x}`, {x.device}, but is on {tensor.device}. "
                f"Move it with {name}.to({name_of_x}.device)."
            )
