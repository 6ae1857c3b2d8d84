"""The configuration of a CONTROL adapter."""

from dataclasses import dataclass, field
from typing import Any

from peft.utils import PeftType

from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError, check_choice, check_integer
from amplitune.quantum import qubits_for
from amplitune.quantum.circuit import NORMS
from amplitune.quantum.readout import PROBABILITIES, WORDS

#: The kinds of features, each with the fields that have an effect on it beside those that all have.
FIELDS_OF: dict[str, tuple[str, ...]] = {
    "bias": (),
    "projection": ("width", "n_qubits", "circuits", "projection_seed"),
    "squares": ("width", "n_qubits", "circuits", "norm", "projection_seed"),
    "givens": ("width", "n_qubits", "circuits", "norm", "projection_seed", "depth", "rotations"),
}
_NAMED_WIDTHS = (*WORDS, PROBABILITIES)


@dataclass
class ControlConfig(TargetingConfig):
    """QAA's adapter with something else in the place of the circuit, to tell what the circuit is good for.

        y = W0 x + b0 + scaling * (W_up f(x) + b_up)

    `features` says what f is: nothing, a fixed random projection, its squares, or the classical twin of the
    circuit; the functions in adapters/control/features.py define them.

    Raises:
        ConfigError: a field has a value it cannot have, or one that has no effect with these features.

    Source:
        QAA: arXiv 2509.16244. The controls are amplitune's own.

    Example:
        >>> ControlConfig(features="givens", target_modules=["q_proj"]).columns(2048)
        11
    """

    without_effect = frozenset({"n_qubits"})

    features: str = field(
        default="projection",
        metadata={
            "help": "What is projected up: bias (nothing, b_up alone), projection (fixed, random), squares "
            "(of that projection), givens (learned rotations of pairs, then squares: the classical twin)."
        },
    )
    width: int | str = field(
        default="Z",
        metadata={
            "help": "Number of features of a circuit: an integer, or the readout of QAA that has as many: Z "
            "(ceil(log2 d_in)), Z+ZZ, XYZ, probabilities."
        },
    )
    n_qubits: int | None = field(
        default=None,
        metadata={"help": "Qubits of the circuit that is replaced; unset, ceil(log2 d_in) for each module."},
    )
    circuits: int = field(
        default=1, metadata={"help": "Number of circuits that are replaced; each has features of its own."}
    )
    depth: int = field(default=1, metadata={"help": "Layers of Givens rotations, n_qubits levels each."})
    rotations: int = field(
        default=1, metadata={"help": "Angles of a wire in a layer of the circuit: 1 for RY, 3 for Rot."}
    )
    norm: str = field(
        default="drop",
        metadata={"help": "Whether the norm, divided out of squares, multiplies them: drop or restore."},
    )
    scaling: float = field(
        default=1.0, metadata={"help": "Factor s of the branch before it is added, as QAA's."}
    )
    up_proj_bias: bool = field(
        default=True, metadata={"help": "Whether the up-projection has the bias b_up."}
    )
    projection_seed: int = field(
        default=0,
        metadata={"help": "Seed of what is random and fixed; it is drawn again at loading, not saved."},
    )

    def __post_init__(self) -> None:
        """Check the fields and set the peft type."""
        super().__post_init__()
        self.peft_type = PeftType("CONTROL")
        check_choice("features", self.features, FIELDS_OF)
        check_choice("norm", self.norm, NORMS)
        for name in ("circuits", "depth", "rotations"):
            check_integer(name, getattr(self, name), 1)
        check_integer("projection_seed", self.projection_seed, 0)
        if self.n_qubits is not None:
            check_integer("n_qubits", self.n_qubits, 1)
        if isinstance(self.width, str):
            check_choice("width", self.width, _NAMED_WIDTHS)
        else:
            check_integer("width", self.width, 1)
        if isinstance(self.scaling, bool) or not isinstance(self.scaling, int | float):
            raise ConfigError(f"`scaling` must be a number, but is {self.scaling!r}. QAA's default is 1.0.")
        self._check_effect()

    def _check_effect(self) -> None:
        """Refuse what would be ignored in silence."""
        if self.features == "bias" and not self.up_proj_bias:
            raise ConfigError(
                "`up_proj_bias` must be true with features: 'bias', which has nothing else, but is false. "
                "Leave it unset."
            )
        declared: Any = type(self).__dataclass_fields__
        for name in FIELDS_OF["givens"]:
            value = getattr(self, name)
            if name not in FIELDS_OF[self.features] and value != declared[name].default:
                raise ConfigError(
                    f"`{name}` must be left unset with features: {self.features!r}, which it has no effect "
                    f"on, but is {value!r}. Remove it."
                )

    def qubits(self, features: int) -> int:
        """Count the qubits of the circuit that is replaced in a module of input width `features`."""
        return qubits_for(features) if self.n_qubits is None else self.n_qubits

    def columns(self, features: int) -> int:
        """Count the features f(x) in a module of input width `features`, those of all circuits together."""
        if self.features == "bias":
            return 0
        n = self.qubits(features)
        if isinstance(self.width, int):
            width = self.width
        else:
            width = 2**n if self.width == PROBABILITIES else len(WORDS[self.width](n))
        return self.circuits * width
