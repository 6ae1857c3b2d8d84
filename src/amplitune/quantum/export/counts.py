"""The values of a readout from the counts of bit strings that a device returns."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from amplitune.errors import ConfigError
from amplitune.quantum.bases import bases_of, readout_values
from amplitune.quantum.circuit import Circuit
from amplitune.quantum.device_wires import device_wires


def values_from_counts(circuit: Circuit, counts: Sequence[Mapping[str, int]]) -> Tensor:
    """Estimate the values of a readout from counts.

        z_k = sum_b (counts_b / shots) (-1)^(number of ones in b on the wires of word k)

    Args:
        circuit: the circuit.
        counts: for each basis of `bases_of(circuit)` how often each bit string was measured. A string is
            written as Qiskit writes it, the bit of wire 0 last.

    Returns:
        Values between -1 and 1, or probabilities, float64, shape (m,); of a readout that restores the norm,
        before it is.

    Raises:
        ConfigError: there is not one set of counts for each basis, one is empty, or a key is no bit string of
            all wires.

    Example:
        >>> values_from_counts(Circuit(2), [{"01": 75, "00": 25}])
        tensor([-0.5000,  1.0000], dtype=torch.float64)
    """
    bases, wires = bases_of(circuit), device_wires(circuit)
    if len(counts) != len(bases) or not all(sum(table.values()) for table in counts):
        raise ConfigError(
            f"`counts` must hold the counts of at least one shot for each of the {len(bases)} measurement "
            f"bases, but is {counts!r:.200}. Run one circuit per basis."
        )
    frequencies = torch.zeros(1, len(bases), 2 ** len(wires), dtype=torch.float64)
    for row, table in zip(frequencies[0], counts, strict=True):
        for text, count in table.items():
            row[_state(text, wires)] += count
        row /= row.sum()
    return readout_values(frequencies, circuit)[0]


def _state(text: str, wires: tuple[int, ...]) -> int:
    """The index of the basis state that a string with wire 0 last stands for."""
    if not isinstance(text, str) or len(text) != len(wires) or set(text) - {"0", "1"}:
        raise ConfigError(
            f"`counts` must have keys of {len(wires)} characters 0 and 1, one per wire, but has {text!r}. "
            "Take them from one register that has a bit for each wire."
        )
    bits = text[::-1]
    return int("".join(bits[wire] for wire in wires), 2)
