"""Exact expectation values of a circuit's observables on a batch of amplitude-encoded inputs."""

from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.differentiation import values
from amplitune.quantum.encoding import flattened
from amplitune.quantum.measured import active
from amplitune.quantum.operators import operator_parameters, run
from amplitune.quantum.statevector import check_arguments
from amplitune.quantum.watching import is_watched


def expectation(x: Tensor, angles: Tensor, circuit: Circuit) -> Tensor:
    """Run circuits on amplitude-encoded rows and return the expectation values of their observables.

        z_k = <psi| U^+ O_k U |psi>,   psi = pad(x) / ||x||_2

    Inside a `measured` block the values are those of shots or of noisy gates instead. Only `x` is kept for
    the backward pass, which recomputes the states in reverse. A positive factor of a row of `x` leaves z as
    it is, unless the circuit restores the norm; so does its sign, but an interferometric z is odd in `x`.

    Args:
        x: real, shape (..., features), any float dtype; features at most 2**n.
        angles: radians, real, shape (circuits, depth, rotations, n_qubits); all circuits share the input.
        circuit: the circuit.

    Returns:
        Expectation values (or probabilities), shape (..., circuits * m), the observables of the first circuit
        first; float64 if `x` or `angles` is, otherwise float32 (half-precision input is upcast). A row of
        zeros has no state and gives zeros with zero gradient; a NaN makes its own row NaN.

    Raises:
        ConfigError: an argument has a wrong dtype or shape, or `x` has more features than amplitudes.

    Source:
        arXiv 2509.16244 (QAA).

    Example:
        >>> import torch
        >>> from amplitune.quantum import Ansatz
        >>> circuit = Circuit(n_qubits=2, ansatz=Ansatz("RY", "none", depth=1))
        >>> expectation(torch.tensor([[0.0, 3.0, 4.0]]), torch.zeros(circuit.angle_shape()), circuit)
        tensor([[-0.2800,  0.2800]])
    """
    check_arguments(x, angles, circuit)
    if (evaluation := active()) is not None:
        return evaluation.expectation(x, angles, circuit)
    parameters = operator_parameters(x, angles, circuit)
    if is_watched(x, parameters):
        return values(x, parameters, circuit.key)
    # The operator and its autograd function would only cost their own time, which a single token feels.
    z = run(flattened(x), parameters, circuit)
    return z.reshape(*x.shape[:-1], z.shape[-1])
