"""Exact expectation values of a circuit's observables on a batch of amplitude-encoded inputs."""

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.constants import constant
from amplitune.quantum.precision import without_autocast
from amplitune.quantum.readout import signs
from amplitune.quantum.statevector import check_arguments, evolve, squared_magnitude


def expectation(x: Tensor, angles: Tensor, circuit: Circuit) -> Tensor:
    """Run circuits on amplitude-encoded rows and return the expectation values of their observables.

        z_k = <psi| U^+ O_k U |psi> = (sum_i s_ki |phi_i|^2) / (sum_i |phi_i|^2)
        psi = pad(x) / ||x||_2,   U = E R(theta_depth) ... E R(theta_1),   phi = E^-1 U pad(x)

    The state phi is not normalised, and the last entangler does not run: it permutes basis states, so it
    permutes the signs s instead. Scaling a row of `x` by a number other than zero leaves z as it is.

    Args:
        x: real, shape (..., features), any float dtype; features at most 2**n.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits); all circuits share the input.
        circuit: the circuit.

    Returns:
        Expectation values in [-1, 1], shape (..., circuits * m), the observables of the first circuit first;
        float64 if `x` or `angles` is, otherwise float32 (half-precision input is upcast). A row of zeros has
        no state and gives zeros with zero gradient; a NaN makes its own row NaN.

    Raises:
        ConfigError: an argument has a wrong dtype or shape, or `x` has more features than amplitudes.

    Source:
        arXiv 2509.16244 (QAA).

    Example:
        >>> from amplitune.quantum import Ansatz
        >>> circuit = Circuit(n_qubits=2, ansatz=Ansatz("RY", "none", depth=1))
        >>> expectation(torch.tensor([[0.0, 3.0, 4.0]]), torch.zeros(circuit.angle_shape()), circuit)
        tensor([[-0.2800,  0.2800]])
    """
    check_arguments(x, angles, circuit)
    with without_autocast(x.device):
        probabilities = squared_magnitude(evolve(x, angles, circuit))
        table = constant(
            signs,
            circuit.readout,
            circuit.ansatz.entangler,
            circuit.n_qubits,
            device=x.device,
            dtype=probabilities.dtype,
        )
        circuits = angles.shape[0]
        sums = torch.bmm(table.expand(circuits, -1, -1), probabilities)
        squared = sums[:, -1:]
        values = sums[:, :-1] / torch.where(squared == 0, 1, squared)
    return values.permute(2, 0, 1).reshape(*x.shape[:-1], circuits * circuit.n_observables)
