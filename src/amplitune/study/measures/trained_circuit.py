"""What the circuit of a trained QAA layer makes of the layer's inputs, at the trained angles."""

import torch
from torch import Tensor

from amplitune.adapters.qaa.layer import QAALayer
from amplitune.quantum import expectation, statevector
from amplitune.quantum.capacity.entanglement import meyer_wallach
from amplitune.quantum.encoding import encode
from amplitune.quantum.preparation import normalized

ROWS = 256
"""Tokens that are looked at; more would change the third digit."""


@torch.no_grad()
def circuit_measures(layer: QAALayer, inputs: Tensor) -> dict[str, float]:
    """Measure a layer's circuit on inputs that the layer has read.

        input_entanglement   = mean over tokens of Q of the encoded input, before the circuit
        circuit_entanglement = mean over tokens and circuits of Q after it
        input_fidelity       = mean of <a_i|a_j>^2 over pairs of tokens
        readout_variance     = mean over observables of the variance of z_k over tokens

    Q is Meyer and Wallach's entanglement. A circuit that does not read its input again keeps all fidelities.
    Norms, which a circuit may restore, are left out of z.

    Args:
        layer: with an active adapter.
        inputs: what it read, shape (tokens, d_in).

    Returns:
        These four; nothing for fewer than two tokens that have a state.

    Source:
        Meyer and Wallach, quant-ph/0108104.
    """
    rows = inputs.detach().to("cpu", torch.float64)
    rows = rows[rows.isfinite().all(dim=1) & rows.any(dim=1)]
    rows = rows[:: max(1, -(-len(rows) // ROWS))]
    adapters = [name for name in layer.active_adapters if name in layer.qaa_circuit]
    if len(rows) < 2 or not adapters:
        return {}
    circuit = layer.qaa_circuit[adapters[0]]
    angles = layer.angles_of(adapters[0]).detach().to("cpu", torch.float64)
    encoded = normalized(encode(rows, rows.dtype, multiple=2**circuit.n_qubits))
    fidelities = (encoded @ encoded.T).square()
    count = len(rows)
    # States have norm 1, so a row's norm, which a circuit may restore, does not come in.
    z = expectation(encoded, angles, circuit)
    return {
        "input_entanglement": float(meyer_wallach(encoded).mean()),
        "circuit_entanglement": float(meyer_wallach(statevector(encoded, angles, circuit)).mean()),
        "input_fidelity": float((fidelities.sum() - fidelities.trace()) / (count * (count - 1))),
        "readout_variance": float(z.var(dim=0).mean()),
    }
