"""Readouts: what is measured at the end of a circuit, by name or as Pauli words."""

from collections.abc import Callable, Sequence
from itertools import combinations

from amplitune.errors import ConfigError, near_matches
from amplitune.quantum.pauli import PauliWord


def z_words(n_qubits: int) -> list[str]:
    """List Pauli Z on each wire.

    Args:
        n_qubits: number of wires.

    Returns:
        The words.

    Example:
        >>> z_words(2)
        ['Z0', 'Z1']
    """
    return [f"Z{wire}" for wire in range(n_qubits)]


def zz_words(n_qubits: int) -> list[str]:
    """List Z_i on each wire, then Z_i Z_j for all i < j in lexicographic order.

    Args:
        n_qubits: number of wires.

    Returns:
        n + n (n - 1) / 2 words.

    Example:
        >>> zz_words(3)
        ['Z0', 'Z1', 'Z2', 'Z0 Z1', 'Z0 Z2', 'Z1 Z2']
    """
    return z_words(n_qubits) + [f"Z{i} Z{j}" for i, j in combinations(range(n_qubits), 2)]


def xyz_words(n_qubits: int) -> list[str]:
    """List X on each wire, then Y on each wire, then Z on each wire.

    On a circuit of real gates the state is real and each Y reads 0.

    Args:
        n_qubits: number of wires.

    Returns:
        3 n words.
    """
    return [f"{letter}{wire}" for letter in "XYZ" for wire in range(n_qubits)]


#: Readouts that are lists of Pauli words for a number of qubits.
WORDS: dict[str, Callable[[int], list[str]]] = {"Z": z_words, "Z+ZZ": zz_words, "XYZ": xyz_words}

#: All basis states' probabilities |psi_i|^2, m = 2**n.
PROBABILITIES = "probabilities"

#: X on an ancilla times Z on each wire, m = n; the ancilla is in superposition of the input and a reference:
#: Phi = (|0>|a> + |1>|r>) / sqrt(2), r the uniform superposition, z_k = Re <U r| Z_k |U a>: linear in a.
INTERFEROMETRIC = "interferometric"

NAMES = (*WORDS, PROBABILITIES, INTERFEROMETRIC)

Readout = str | tuple[str, ...]


def checked_readout(readout: str | Sequence[str], n_qubits: int) -> Readout:
    """Refuse a readout that cannot be measured on a number of qubits.

    Args:
        readout: a name of NAMES, or a list of Pauli words such as "X0 Z2".
        n_qubits: number of wires.

    Returns:
        The name, or the words as a tuple.

    Raises:
        ConfigError: the name is unknown, the list is empty, or a word cannot be read.
    """
    if isinstance(readout, str):
        if readout in NAMES:
            return readout
        raise ConfigError(
            f"`readout` must be one of {', '.join(map(repr, NAMES))}, or a list of Pauli words, but is "
            f"{readout!r}. {near_matches(readout, NAMES)}"
        )
    if not isinstance(readout, list | tuple) or not readout:
        raise ConfigError(
            f"`readout` must be one of {', '.join(map(repr, NAMES))}, or a list of at least one Pauli word, "
            f"but is {readout!r}. Write, for example, ['X0', 'Z0 Z1']."
        )
    for word in readout:
        PauliWord.parse(word, n_qubits)
    return tuple(readout)


def observables(readout: Readout, n_qubits: int) -> tuple[PauliWord, ...]:
    """List the Pauli words that a readout measures.

    Args:
        readout: checked; for the interferometric one, the words beside X on the ancilla.
        n_qubits: number of wires.

    Returns:
        The words; none for basis probabilities, which are projectors.

    Example:
        >>> observables(("X0", "Z0 Z1"), 2)
        (PauliWord(x=2, z=0, sign=1), PauliWord(x=0, z=3, sign=1))
    """
    if readout == PROBABILITIES:
        return ()
    if readout == INTERFEROMETRIC:
        readout = "Z"
    words = WORDS[readout](n_qubits) if isinstance(readout, str) else readout
    return tuple(PauliWord.parse(word, n_qubits) for word in words)
