"""Expectation values estimated from shots, with gradients from shots."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from amplitune.quantum.bases import readout_values
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import flattened
from amplitune.quantum.noise import NoiseModel, check_no_gradient
from amplitune.quantum.operators import backward_op, norms, operator_parameters
from amplitune.quantum.outcomes import check_generator
from amplitune.quantum.parameter_shift import parameter_shift
from amplitune.quantum.precision import compute_dtype, without_autocast
from amplitune.quantum.preparation import ancillas
from amplitune.quantum.sampling import check_shots, frequencies, measured_outcomes
from amplitune.quantum.statevector import check_arguments


def estimate(
    x: Tensor,
    angles: Tensor,
    circuit: Circuit,
    shots: int,
    generator: torch.Generator | None = None,
    noise: NoiseModel | None = None,
    trajectories: int | None = None,
) -> Tensor:
    """Estimate the expectation values of circuits from measured bit strings.

        z_k = 1/shots sum_s (product of the eigenvalues of O_k's factors in shot s)

    Without bias; the variance of a Pauli word is (1 - z_k^2) / shots. Words that need different bases on a
    wire are measured in different runs, `shots` in each basis, as in PennyLane; words measured in one basis
    share their shots, so their errors are correlated. Outcomes are those of `sample` with the same seed.

    The gradient dL/dangles comes from the parameter-shift rule, each of its evaluations from new shots: it is
    unbiased for a given dL/dz. The gradient dL/dx is exact: features enter through the preparation of the
    state, and no shift of its gates' angles gives a derivative with respect to x, so no number of shots
    corresponds to it. Layers before an adapter then learn from what unbiased estimates would have as their
    mean. Under noise there is no gradient, and a gradient has no gradient.

    Args:
        x: real, shape (..., features), any float dtype; features at most 2**n.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits); all circuits share the input.
        circuit: the circuit.
        shots: runs of the circuit for each row, in each basis.
        generator: source of the outcomes, on the device of `x`; None for torch's default one. With the same
            seed, input and device the values and gradients are the same.
        noise: errors of gates and measurements; None for none.
        trajectories: see `sample`.

    Returns:
        Estimates, or frequencies for the readout "probabilities", shape (..., circuits * m), in the dtype of
        `expectation`. A row of zeros gives zeros; a NaN makes its own row NaN.

    Raises:
        ConfigError: an argument has a wrong dtype, shape or value, is on another device, or a gradient is
            expected under noise.

    Source:
        arXiv 1811.11184 (parameter shift); arXiv 2509.16244 (QAA).

    Example:
        >>> circuit = Circuit(n_qubits=2)
        >>> x = torch.tensor([0.0, 0.0, 0.0, 1.0])
        >>> estimate(x, torch.zeros(circuit.angle_shape()), circuit, shots=10)
        tensor([-1.,  1.])
    """
    check_arguments(x, angles, circuit)
    check_shots(shots)
    check_generator(generator, x.device)
    rows = flattened(x)
    if noise is None:
        z: Tensor = _Estimate.apply(rows, angles, circuit, shots, generator)
    else:
        check_no_gradient(x, angles)
        with torch.no_grad():
            z = _values(rows, angles, circuit, shots, generator, noise, trajectories)
    return z.reshape(*x.shape[:-1], angles.shape[0] * circuit.n_observables)


def _values(
    rows: Tensor,
    angles: Tensor,
    circuit: Circuit,
    shots: int,
    generator: torch.Generator | None,
    noise: NoiseModel | None = None,
    trajectories: int | None = None,
) -> Tensor:
    """Estimate z of tokens, shape (tokens, circuits * m)."""
    dtype = compute_dtype(rows, angles)
    size = 2 ** (circuit.n_qubits + ancillas(circuit))
    parts = []
    with without_autocast(rows.device):
        measured = measured_outcomes(rows, angles.to(dtype), circuit, shots, generator, noise, trajectories)
        for outcomes, total in measured:
            # Adding 0 * total makes rows NaN that have no state because of a NaN.
            z = readout_values(frequencies(outcomes, size) + 0 * total, circuit)
            parts.append(z.flatten(1).to(dtype))
        z = torch.cat(parts)
        return z * norms(rows, dtype) if circuit.norm == "restore" else z


class _Estimate(torch.autograd.Function):
    """z of tokens from shots."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        angles: Tensor,
        circuit: Circuit,
        shots: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        z = _values(rows, angles, circuit, shots, generator)
        ctx.save_for_backward(rows, angles)
        ctx.circuit, ctx.shots = circuit, shots
        if ctx.needs_input_grad[1]:
            # The backward pass has a generator of its own, so that its order among others does not matter.
            ctx.seed = int(torch.randint(2**62, (), generator=generator, device=rows.device))
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        rows, angles = ctx.saved_tensors
        dx = dangles = None
        if ctx.needs_input_grad[0]:
            dx = _exact_gradient(rows, angles, ctx.circuit, grad_z)
        if ctx.needs_input_grad[1]:
            generator = torch.Generator(rows.device).manual_seed(ctx.seed)
            dangles = parameter_shift(
                lambda shifted: _values(rows, shifted, ctx.circuit, ctx.shots, generator), angles, grad_z
            )
        return dx, dangles, None, None, None


def _exact_gradient(rows: Tensor, angles: Tensor, circuit: Circuit, grad_z: Tensor) -> Tensor:
    """dL/dx of the exact expectation values."""
    dx, _, _ = backward_op(grad_z, rows, operator_parameters(rows, angles, circuit), circuit.key, True)
    return dx
