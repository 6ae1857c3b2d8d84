"""Expectation values of noisy circuits, exact or by quantum trajectories."""

from typing import NamedTuple

import torch
from torch import Tensor

from amplitune.quantum.bases import readout_values
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import flattened
from amplitune.quantum.noise import NoiseModel, check_no_gradient
from amplitune.quantum.operators import norms
from amplitune.quantum.outcomes import check_generator, distributions, passes, runs_of
from amplitune.quantum.precision import compute_dtype, without_autocast
from amplitune.quantum.statevector import check_arguments


class NoisyExpectation(NamedTuple):
    """Expectation values under noise.

    Args:
        values: z, shape (..., circuits * m).
        standard_error: of each value, same shape; zeros where the values are exact.
    """

    values: Tensor
    standard_error: Tensor


def noisy_expectation(
    x: Tensor,
    angles: Tensor,
    circuit: Circuit,
    noise: NoiseModel,
    trajectories: int | None = None,
    generator: torch.Generator | None = None,
) -> NoisyExpectation:
    """Run noisy circuits on amplitude-encoded rows and return the expectation values of their observables.

        z_k = Tr(O_k rho),   rho = the encoded row after all gates and the errors after each of them

    Up to 6 qubits by density matrices, exactly. Above by quantum trajectories: each z_k is the mean over runs
    with random errors, without bias. For evaluation only: there are no gradients.

    Args:
        x: real, shape (..., features), any float dtype; features at most 2**n.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits); all circuits share the input.
        circuit: the circuit. For the interferometric readout the errors act on the qubits, not on the
            ancilla, except that its bit may be misread.
        noise: the errors.
        trajectories: number of random runs of each row, at least 2; None for density matrices up to 6 qubits
            and 100 trajectories above. Where no error acts on gates the values are exact in any case.
        generator: source of the errors of trajectories, on the device of `x`; None for torch's default one.

    Returns:
        values and standard_error, each of shape (..., circuits * m), in the dtype of `expectation`. A row of
        zeros gives zeros; a NaN makes its own row NaN.

    Raises:
        ConfigError: an argument has a wrong dtype, shape or value, is on another device, or gradients are on
            and an input requires one.

    Source:
        Nielsen and Chuang, section 8.3 (channels); Moelmer, Castin and Dalibard, J. Opt. Soc. Am. B 10, 524
        (1993) (trajectories).

    Example:
        >>> circuit = Circuit(n_qubits=1)
        >>> x, angles = torch.tensor([1.0, 0.0]), torch.zeros(circuit.angle_shape())
        >>> noisy_expectation(x, angles, circuit, NoiseModel(bit_flip=0.1)).values
        tensor([0.8000])
    """
    check_arguments(x, angles, circuit)
    check_generator(generator, x.device)
    check_no_gradient(x, angles)
    runs = runs_of(circuit, noise, trajectories)
    rows = flattened(x)
    dtype = compute_dtype(x, angles)
    means, errors = [], []
    with torch.no_grad(), without_autocast(x.device):
        angles = angles.to(dtype)
        for some in passes(rows, angles, circuit, noise, runs):
            moments = _Moments()
            for distribution in distributions(some, angles, circuit, noise, runs, generator):
                moments.add(readout_values(distribution.transpose(1, 2), circuit).flatten(2))
            means.append(moments.mean)
            errors.append(moments.standard_error)
        values, error = torch.cat(means), torch.cat(errors)
        if circuit.norm == "restore":
            norm = norms(rows, dtype)
            values, error = values * norm, error * norm
    shape = (*x.shape[:-1], angles.shape[0] * circuit.n_observables)
    return NoisyExpectation(values.reshape(shape), error.reshape(shape))


class _Moments:
    """Mean and scatter of values (tokens, runs, m) that arrive in parts.

    Source:
        Chan, Golub and LeVeque, The American Statistician 37, 242 (1983).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, values: Tensor) -> None:
        count, mean = values.shape[1], values.mean(dim=1)
        scatter = (values - mean[:, None]).square().sum(dim=1)
        if self.count:
            share = count / (self.count + count)
            step = mean - self.mean
            mean = self.mean + share * step
            scatter = self.scatter + scatter + self.count * share * step.square()
        self.count, self.mean, self.scatter = self.count + count, mean, scatter

    @property
    def standard_error(self) -> Tensor:
        # A single run is an exact distribution: its scatter is zero, but a NaN stays one.
        return (self.scatter / max(1, self.count - 1) / self.count).sqrt()
