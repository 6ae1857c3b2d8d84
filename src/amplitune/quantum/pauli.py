"""Pauli words: products of Pauli matrices as bit masks over the index of an amplitude."""

import re
from dataclasses import dataclass

from amplitune.errors import ConfigError


@dataclass(frozen=True)
class PauliWord:
    """A product of Pauli matrices on some wires, with a sign.

        P = sign * i^|x & z| X^x Z^z,   (P psi)_i = sign * i^|x & z| * (-1)^|(i XOR x) & z| * psi_(i XOR x)

    |.| counts bits; wire w is bit n - 1 - w, so wire 0 is the most significant one. A wire with both bits has
    the matrix Y = i X Z.

    Args:
        x: mask of the wires with X or Y.
        z: mask of the wires with Z or Y.
        sign: +1 or -1.

    Example:
        >>> PauliWord.parse("Y0 Z2", n_qubits=3)
        PauliWord(x=4, z=5, sign=1)
    """

    x: int
    z: int
    sign: int = 1

    @classmethod
    def parse(cls, text: str, n_qubits: int) -> "PauliWord":
        """Read a word such as "X0 Z2": Pauli matrices by wire, with the identity on all other wires.

        Args:
            text: factors X, Y or Z followed by the wire, separated by spaces, each wire at most once.
            n_qubits: number of wires n.

        Returns:
            The word, with sign +1.

        Raises:
            ConfigError: a factor cannot be read, or names a wire that is not there or was named before.
        """
        x = z = 0
        for factor in text.split() if isinstance(text, str) else ():
            match = re.fullmatch(r"([XYZ])(\d+)", factor)
            if match is None or int(match[2]) >= n_qubits:
                raise ConfigError(
                    f"`readout` must hold factors X, Y or Z with a wire from 0 to {n_qubits - 1}, but "
                    f"{text!r} has the factor {factor!r}. Write, for example, 'X0' or 'Z0 Z1'."
                )
            bit = 1 << (n_qubits - 1 - int(match[2]))
            if (x | z) & bit:
                raise ConfigError(
                    f"`readout` must name each wire of a word once, but {text!r} names wire {match[2]} "
                    "twice. Multiply the two factors by hand."
                )
            x |= bit * (match[1] in "XY")
            z |= bit * (match[1] in "YZ")
        if not x | z:
            raise ConfigError(
                f"`readout` must hold words of at least one Pauli matrix, but has {text!r}. "
                "Write, for example, 'X0' or 'Z0 Z1'."
            )
        return cls(x, z)

    def before_cnot(self, control: int, target: int, n_qubits: int) -> "PauliWord":
        """Give the word that reads the same before a CNOT as this one after it, CNOT P CNOT.

        Args:
            control: control wire.
            target: target wire.
            n_qubits: number of wires.

        Returns:
            The conjugated word.

        Source:
            Aaronson and Gottesman, arXiv quant-ph/0406196, section III.
        """
        c, t = n_qubits - 1 - control, n_qubits - 1 - target
        x_c, z_c, x_t, z_t = (mask >> bit & 1 for bit in (c, t) for mask in (self.x, self.z))
        sign = -self.sign if x_c & z_t & (x_t ^ z_c ^ 1) else self.sign
        return PauliWord(self.x ^ x_c << t, self.z ^ z_t << c, sign)

    def before_cz(self, first: int, second: int, n_qubits: int) -> "PauliWord":
        """Give the word that reads the same before a CZ as this one after it, CZ P CZ.

        Args:
            first: a wire.
            second: the other wire.
            n_qubits: number of wires.

        Returns:
            The conjugated word.

        Source:
            Aaronson and Gottesman, arXiv quant-ph/0406196; CZ is a CNOT between Hadamard gates on its target.
        """
        a, b = n_qubits - 1 - first, n_qubits - 1 - second
        x_a, z_a, x_b, z_b = (mask >> bit & 1 for bit in (a, b) for mask in (self.x, self.z))
        sign = -self.sign if x_a & x_b & (z_a ^ z_b) else self.sign
        return PauliWord(self.x, self.z ^ x_b << a ^ x_a << b, sign)

    def letters(self, n_qubits: int) -> str:
        """Write the word's matrix on each wire, without the sign.

        Args:
            n_qubits: number of wires.

        Returns:
            I, X, Y or Z for each wire, wire 0 first.

        Example:
            >>> PauliWord(x=4, z=5).letters(3)
            'YIZ'
        """
        bits = reversed(range(n_qubits))
        return "".join("IXZY"[(self.x >> bit & 1) + 2 * (self.z >> bit & 1)] for bit in bits)

    def text(self, n_qubits: int) -> str:
        """Write the word as `parse` reads it, with a minus sign in front if it has one.

        Args:
            n_qubits: number of wires.

        Returns:
            For example "X0 Z2", or "I" for the identity.

        Example:
            >>> PauliWord(x=4, z=5).text(3)
            'Y0 Z2'
        """
        letters = enumerate(self.letters(n_qubits))
        factors = [f"{letter}{wire}" for wire, letter in letters if letter != "I"]
        return ("-" if self.sign < 0 else "") + (" ".join(factors) or "I")
