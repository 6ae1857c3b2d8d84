"""The gates that prepare a state with real amplitudes: a tree of RY and CNOT gates."""

from dataclasses import dataclass

import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.encoding import check_features, qubits_for
from amplitune.quantum.gate_list import PlacedGate
from amplitune.quantum.preparation import ancillas, prepared


def device_amplitudes(x: Tensor, circuit: Circuit) -> Tensor:
    """Compute the state in which a device has to start.

        a = x / ||x||_2,   for an interferometric readout (|0>|a> + |1>|r>) / sqrt(2)

    Args:
        x: real, finite, not all zero, shape (features,).
        circuit: the circuit.

    Returns:
        Amplitudes of norm 1, float64 on the CPU, shape (features,), the missing ones zero; or (2**(n+1),).

    Raises:
        ConfigError: `x` is no such row, or has more features than there are amplitudes.

    Example:
        >>> device_amplitudes(torch.tensor([3.0, 0.0, 4.0]), Circuit(2))
        tensor([0.6000, 0.0000, 0.8000], dtype=torch.float64)
    """
    check_features(x, circuit.n_qubits)
    if x.ndim != 1:
        raise ConfigError(
            f"`x` must be one row of shape (features,), because each row is a state of its own, but has the "
            f"shape {tuple(x.shape)}. Take one row with x[i]."
        )
    if not bool(x.isfinite().all()) or not bool((x != 0).any()):
        found = "is all zeros" if bool(x.isfinite().all()) else "holds a NaN or an infinity"
        raise ConfigError(
            f"`x` must be finite and not all zero to be a state, but {found}. Give another row."
        )
    state = prepared(x.detach().cpu()[None], circuit, torch.float64)[0]
    return state if ancillas(circuit) else state[: len(x)]


def rotation_tree(amplitudes: Tensor) -> list[Tensor]:
    """Find the angles that split a state's norm wire by wire, most significant wire first.

        theta_j = 2 atan2(||right half of node j||, ||left half||),  at the leaves 2 atan2(a_{2j+1}, a_{2j})

    The last level's angles take the amplitudes with their signs, so that no phases have to follow.

    Args:
        amplitudes: real, shape (2**k,).

    Returns:
        k tensors of radians, the one of level w with shape (2**w,).

    Source:
        Mottonen, Vartiainen, Bergholm and Salomaa, arXiv quant-ph/0407010.

    Example:
        >>> [level.tolist() for level in rotation_tree(torch.tensor([1.0, 0.0, 0.0, 0.0]))]
        [[0.0], [0.0, 0.0]]
    """
    levels = []
    while len(amplitudes) > 1:
        left, right = amplitudes.unflatten(0, (-1, 2)).unbind(1)
        levels.append(2 * torch.atan2(right, left))
        amplitudes = torch.hypot(left, right)
    return levels[::-1]


def uniformly_controlled_ry(angles: Tensor, controls: tuple[int, ...], target: int) -> list[PlacedGate]:
    """Rotate a wire by an angle that depends on the basis state of others.

    A CNOT before and after RY(t) makes RY(-t) of it. Between the rotations the controls act in the order of a
    Gray code g, so each rotation gets the signs of a Walsh function of its own:

        phi_i = 2^-k sum_c (-1)^|c & g_i| theta_c

    Args:
        angles: radians, theta_c for each basis state c of the controls, shape (2**k,).
        controls: k wires, the most significant first.
        target: the wire that is rotated.

    Returns:
        2**k RY gates, each followed by a CNOT; one RY if there are no controls.

    Source:
        Mottonen et al., arXiv quant-ph/0407010, equation 3.
    """
    k = len(controls)
    walsh = angles
    for bit in range(k):
        pairs = walsh.unflatten(0, (-1, 2, 2**bit))
        walsh = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), dim=1).flatten()
    values = (walsh / 2**k).tolist()
    gates = []
    for i in range(2**k):
        gates.append(PlacedGate("RY", (target,), values[i ^ i >> 1]))
        if k:
            # The bit in which the Gray codes of i and i + 1 differ; the last step closes the cycle.
            flipped = min((~i & i + 1).bit_length() - 1, k - 1)
            gates.append(PlacedGate("CNOT", (controls[k - 1 - flipped], target)))
    return gates


def preparation_gates(amplitudes: Tensor, wires: tuple[int, ...]) -> list[PlacedGate]:
    """List gates that turn |0...0> into a state with given real amplitudes.

    Wires that are 0 in every amplitude given get no gate: k = ceil(log2 features) wires take part.

    Args:
        amplitudes: real, finite, not all zero, not necessarily normalised, shape (features,); the missing
            ones up to 2**len(wires) are zero.
        wires: the wires, that of the most significant bit of the index first.

    Returns:
        2**k - 1 RY and 2**k - 2 CNOT gates. The state has the sign of the amplitudes, but for a single
        feature, whose sign is a global phase.

    Source:
        Mottonen et al., arXiv quant-ph/0407010; without the half for the phases, which real amplitudes lack.

    Example:
        >>> for gate in preparation_gates(torch.tensor([0.0, 0.0, 0.0, 1.0]), wires=(0, 1)):
        ...     print(gate.name, gate.wires, gate.angle)
        RY (0,) 3.1415927410125732
        RY (1,) 1.5707963705062866
        CNOT (0, 1) None
        RY (1,) -1.5707963705062866
        CNOT (0, 1) None
    """
    k = _wires_prepared(len(amplitudes))
    padded = torch.nn.functional.pad(amplitudes, (0, 2**k - len(amplitudes)))
    taking_part = wires[len(wires) - k :]
    gates = []
    for level, angles in enumerate(rotation_tree(padded)):
        gates += uniformly_controlled_ry(angles, taking_part[:level], taking_part[level])
    return gates


@dataclass(frozen=True)
class PreparationCost:
    """What the preparation of one state takes.

    Args:
        ry: number of RY gates, 2**k - 1 on k wires.
        cnot: number of CNOT gates, 2**k - 2.
        depth: steps when gates on different wires run at once, 2**(k + 1) - k - 2.
    """

    ry: int
    cnot: int
    depth: int


def preparation_cost(features: int, circuit: Circuit) -> PreparationCost:
    """Count the gates of `preparation_gates`, which do not depend on the values of the row.

    Args:
        features: width of the encoded row.
        circuit: the circuit; an interferometric readout needs the reference and the ancilla as well.

    Returns:
        The counts.

    Raises:
        ConfigError: `features` is no number of amplitudes that the circuit has.

    Example:
        >>> preparation_cost(768, Circuit(10))
        PreparationCost(ry=1023, cnot=1022, depth=2036)
    """
    if (
        isinstance(features, bool)
        or not isinstance(features, int)
        or not 1 <= features <= 2**circuit.n_qubits
    ):
        raise ConfigError(
            f"`features` must be from 1 to {2**circuit.n_qubits}, the amplitudes of {circuit.n_qubits} "
            f"qubits, but is {features!r}. Give the width of the encoded rows, or use more qubits."
        )
    k = circuit.n_qubits + 1 if ancillas(circuit) else _wires_prepared(features)
    return PreparationCost(ry=2**k - 1, cnot=max(0, 2**k - 2), depth=2 ** (k + 1) - k - 2)


def _wires_prepared(features: int) -> int:
    return 0 if features == 1 else qubits_for(features)
