"""The noise of a quantum computer: channels after each gate, and bits that are read wrongly."""

from dataclasses import asdict, dataclass, fields
from math import isnan

import torch
from torch import Tensor

from amplitune.errors import ConfigError


@dataclass(frozen=True)
class NoiseModel:
    """Probabilities of the errors of gates and of measurements.

    After each gate the channels act on each of its wires, first the control, then the target, in the order

        depolarizing       rho -> (1 - p) rho + p/3 (X rho X + Y rho Y + Z rho Z)
        bit_flip           rho -> (1 - p) rho + p X rho X
        phase_flip         rho -> (1 - p) rho + p Z rho Z
        amplitude_damping  rho -> K_0 rho K_0 + K_1 rho K_1^+,
                           K_0 = diag(1, sqrt(1 - p)), K_1 = sqrt(p) |0><1|

    The first three commute. The gates are those of the ansatz, each row of angles one gate: "Rot" is three.
    Free of noise are the preparation of the input, the reflections of re-uploading, which consist of two of
    them, the ancilla of an interferometric readout, and the change of basis before a measurement.
    `readout_error` flips each measured bit, the ancilla's too: a Pauli word of k factors is multiplied by
    (1 - 2 p)^k.

    Args:
        depolarizing: probability p; 3/4 forgets the wire's state.
        bit_flip: probability of X.
        phase_flip: probability of Z.
        amplitude_damping: probability that 1 decays to 0.
        readout_error: probability that a measured bit is read as the other one.

    Raises:
        ConfigError: a probability is no number from 0 to 1.

    Source:
        Nielsen and Chuang, Quantum Computation and Quantum Information, section 8.3; probabilities as in
        PennyLane's DepolarizingChannel, BitFlip, PhaseFlip and AmplitudeDamping.

    Example:
        >>> NoiseModel(depolarizing=0.001, readout_error=0.01).pauli_probabilities
        (0.999, 0.000333..., 0.000333..., 0.000333...)
    """

    depolarizing: float = 0.0
    bit_flip: float = 0.0
    phase_flip: float = 0.0
    amplitude_damping: float = 0.0
    readout_error: float = 0.0

    def __post_init__(self) -> None:
        """Check the probabilities."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or isnan(value) or not 0 <= value <= 1:
                raise ConfigError(
                    f"`{entry.name}` must be a probability from 0 to 1, but is {value!r}. "
                    "Give, for example, 0.001, or leave it unset for none."
                )

    @property
    def acts_on_gates(self) -> bool:
        """Whether there is any error but that of the measurement."""
        return any(value for name, value in asdict(self).items() if name != "readout_error")

    @property
    def pauli_probabilities(self) -> tuple[float, float, float, float]:
        """The probabilities of I, X, Y and Z in the product of the first three channels."""
        third, flip, phase = self.depolarizing / 3, self.bit_flip, self.phase_flip
        i, x, y, z = 1 - self.depolarizing, third, third, third
        i, x, y, z = (
            (1 - flip) * i + flip * x,
            (1 - flip) * x + flip * i,
            (1 - flip) * y + flip * z,
            (1 - flip) * z + flip * y,
        )
        return (
            (1 - phase) * i + phase * z,
            (1 - phase) * x + phase * y,
            (1 - phase) * y + phase * x,
            (1 - phase) * z + phase * i,
        )

    def superoperator(self) -> Tensor:
        """Write the four channels of a gate as one matrix on the entries of a wire's density matrix.

            N = A (sum_P p_P P (x) P^*),   A = K_0 (x) K_0 + K_1 (x) K_1

        Returns:
            Real, float64 on the CPU, shape (4, 4); rows and columns are the entries 00, 01, 10, 11.
        """
        i, x, y, z = self.pauli_probabilities
        p, keep = self.amplitude_damping, (1 - self.amplitude_damping) ** 0.5
        pauli = [
            [i + z, 0, 0, x + y],
            [0, i - z, x - y, 0],
            [0, x - y, i - z, 0],
            [x + y, 0, 0, i + z],
        ]
        damping = [[1, 0, 0, p], [0, keep, 0, 0], [0, 0, keep, 0], [0, 0, 0, 1 - p]]
        both = (torch.tensor(matrix, dtype=torch.float64, device="cpu") for matrix in (damping, pauli))
        return torch.matmul(*both)


def check_noise(noise: NoiseModel | None) -> None:
    """Refuse what is no noise model.

    Args:
        noise: the noise model, or None for none.

    Raises:
        ConfigError: `noise` is something else.
    """
    if noise is not None and not isinstance(noise, NoiseModel):
        raise ConfigError(
            f"`noise` must be a NoiseModel, but is {noise!r}. Write, for example, NoiseModel(0.001)."
        )


def check_no_gradient(x: Tensor, angles: Tensor) -> None:
    """Refuse noise where gradients are expected.

    Args:
        x: the input.
        angles: the angles.

    Raises:
        ConfigError: gradients are on, and `x` or `angles` requires one.
    """
    if torch.is_grad_enabled() and (x.requires_grad or angles.requires_grad):
        raise ConfigError(
            "`noise` must be used without gradients, because noise is for evaluation, but gradients are on "
            "and an input requires one. Put the call into `with torch.no_grad():`."
        )


def misread(distribution: Tensor, probability: float) -> Tensor:
    """Flip each measured bit with a probability of its own.

    Args:
        distribution: probabilities of the outcomes, shape (..., 2**wires).
        probability: of each flip.

    Returns:
        Probabilities of what is read, same shape.

    Example:
        >>> misread(torch.tensor([1.0, 0.0, 0.0, 0.0]), 0.1)
        tensor([0.8100, 0.0900, 0.0900, 0.0100])
    """
    if probability == 0:
        return distribution
    size = distribution.shape[-1]
    for bit in range(size.bit_length() - 1):
        pairs = distribution.unflatten(-1, (-1, 2, 2**bit))
        distribution = ((1 - probability) * pairs + probability * pairs.flip(-2)).flatten(-3)
    return distribution
