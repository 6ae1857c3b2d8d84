"""The configuration of a QAA adapter."""

from dataclasses import dataclass, field
from typing import Any, Literal

from peft.utils import PeftType

from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError
from amplitune.quantum import Ansatz, Circuit, qubits_for

#: The circuit of arXiv 2509.16244 as we read it, field by field; also the defaults of QAAConfig.
PAPER_CIRCUIT: dict[str, Any] = {
    "n_qubits": None,
    "rotation": "RY",
    "entangler": "ring",
    "depth": 1,
    "readout": "Z",
    "scaling": 1.0,
    "up_proj_bias": True,
}


@dataclass
class QAAConfig(TargetingConfig):
    """A quantum circuit on the amplitude-embedded input of a linear layer, projected up to its output.

        z = expectation(x, angles),   y = W0 x + b0 + scaling * (W_up z + b_up)

    The defaults are the circuit of the paper; `preset="paper"` asserts that they were not changed.

    Raises:
        ConfigError: a field has a value it cannot have, or differs from the preset.

    Source:
        arXiv 2509.16244 (QAA): amplitude embedding, ceil(log2 d_in) qubits, a parametrised circuit in the
        attention modules; RY and ring CNOT are from a follow-up of the same group (SQUARE). The readout, the
        up-projection and the targets are not given there; these are our reading.

    Example:
        >>> QAAConfig(target_modules=["q_proj", "v_proj"]).circuit(2048)
        Circuit(n_qubits=11, ansatz=Ansatz(rotation='RY', entangler='ring', depth=1), readout='Z')
    """

    n_qubits: int | None = field(
        default=PAPER_CIRCUIT["n_qubits"],
        metadata={
            "help": "Number of qubits; unset, ceil(log2 d_in) for each module, the smallest that fits."
        },
    )
    rotation: str = field(
        default=PAPER_CIRCUIT["rotation"], metadata={"help": "Rotations on each wire: RY, RYRZ or Rot."}
    )
    entangler: str = field(
        default=PAPER_CIRCUIT["entangler"],
        metadata={"help": "CNOT gates after each layer of rotations: ring, linear, all-to-all or none."},
    )
    depth: int = field(
        default=PAPER_CIRCUIT["depth"],
        metadata={"help": "Number of layers of rotations and entangling gates."},
    )
    readout: str = field(
        default=PAPER_CIRCUIT["readout"], metadata={"help": "Observables: Z is Pauli Z on each wire."}
    )
    scaling: float = field(
        default=PAPER_CIRCUIT["scaling"], metadata={"help": "Factor s of the branch before it is added."}
    )
    up_proj_bias: bool = field(
        default=PAPER_CIRCUIT["up_proj_bias"],
        metadata={"help": "Whether the up-projection has the bias b_up."},
    )
    preset: Literal["paper"] | None = field(
        default=None,
        metadata={"help": "'paper' asserts that all circuit fields are those of arXiv 2509.16244."},
    )

    def __post_init__(self) -> None:
        """Check the fields and set the peft type."""
        super().__post_init__()
        self.peft_type = PeftType("QAA")
        if self.preset not in (None, "paper"):
            raise ConfigError(
                f"`preset` must be 'paper' or None, but is {self.preset!r}. Leave it unset to choose a "
                "circuit freely."
            )
        self.circuit(1)
        if isinstance(self.scaling, bool) or not isinstance(self.scaling, int | float):
            raise ConfigError(
                f"`scaling` must be a number, but is {self.scaling!r}. The paper's preset uses 1.0."
            )
        if self.preset == "paper":
            for name, value in PAPER_CIRCUIT.items():
                if getattr(self, name) != value:
                    raise ConfigError(
                        f"`{name}` must be {value!r} with preset: 'paper', but is {getattr(self, name)!r}. "
                        f"Leave `{name}` or `preset` unset."
                    )

    def circuit(self, features: int) -> Circuit:
        """Give the circuit for a module.

        Args:
            features: the module's input width d_in.

        Returns:
            The circuit on `n_qubits` qubits or, when that is unset, on ceil(log2 d_in).

        Raises:
            ConfigError: a circuit field has a value it cannot have.
        """
        n_qubits = qubits_for(features) if self.n_qubits is None else self.n_qubits
        return Circuit(n_qubits, Ansatz(self.rotation, self.entangler, self.depth), self.readout)
