"""The state in which a circuit starts: the encoded input, for an interferometer beside a reference."""

import torch
from torch import Tensor

from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import encode
from amplitune.quantum.measurement import squared_magnitude
from amplitune.quantum.readout import INTERFEROMETRIC


def ancillas(circuit: Circuit) -> int:
    """Count the wires that a circuit has beside its qubits.

    Args:
        circuit: the circuit.

    Returns:
        1 for the interferometric readout, otherwise 0. The ancilla stands before wire 0: it is the most
        significant bit of an amplitude's index, and no gate of the ansatz acts on it.
    """
    return int(circuit.readout == INTERFEROMETRIC)


def normalized(states: Tensor, dim: int = -1) -> Tensor:
    """Give each state norm 1; zeros stay zeros.

    Args:
        states: real or complex, any shape; squares must neither overflow nor vanish.
        dim: the dimension of the amplitudes.

    Returns:
        Same shape.
    """
    squared = squared_magnitude(states).sum(dim=dim, keepdim=True)
    return states * torch.where(squared == 0, 1, squared).rsqrt()


def beside_reference(states: Tensor, reference: Tensor) -> Tensor:
    """Put an ancilla in front that is 0 beside a state and 1 beside a reference.

        Phi = (|0> |state> + |1> |reference>) / sqrt(2)

    Args:
        states: of norm 1, or zeros, shape (..., amplitudes).
        reference: of norm 1, the last dimensions of `states`.

    Returns:
        Shape (..., 2 * amplitudes); zeros for zeros, which are no state.
    """
    # A NaN is no zero: such a row must stay NaN.
    exists = (states != 0).any(dim=-1, keepdim=True)
    beside = torch.where(exists, reference.expand_as(states), 0)
    return torch.cat((states, beside), dim=-1) / 2**0.5


def prepared(rows: Tensor, circuit: Circuit, dtype: torch.dtype) -> Tensor:
    """Prepare the states on which the gates of a circuit act.

        a = pad(x) / ||x||_2,   or   Phi = (|0> |a> + |1> |r>) / sqrt(2),   r = (1, ..., 1) / sqrt(2**n)

    Args:
        rows: real, shape (tokens, features), any float dtype.
        circuit: the circuit; Phi belongs to the interferometric readout.
        dtype: float32 or float64.

    Returns:
        Real amplitudes of norm 1, shape (tokens, 2**(n + ancillas)); zeros for a row of zeros.

    Example:
        >>> prepared(torch.tensor([[0.0, 3.0, 4.0]]), Circuit(2), torch.float32)
        tensor([[0.0000, 0.6000, 0.8000, 0.0000]])
    """
    size = 2**circuit.n_qubits
    states = normalized(encode(rows, dtype, multiple=size))
    if not ancillas(circuit):
        return states
    return beside_reference(states, states.new_full((size,), size**-0.5))
