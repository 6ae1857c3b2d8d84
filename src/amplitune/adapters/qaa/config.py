"""The configuration of a QAA adapter."""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from peft.utils import PeftType

from amplitune.adapters.patterns import check_pattern, pattern_value
from amplitune.adapters.qaa.fused import FusedParts, check_fused, parts_of
from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError, check_integer
from amplitune.quantum import Circuit, qubits_for

#: The circuit of arXiv 2509.16244 as we read it, field by field; also the defaults of QAAConfig.
PAPER_CIRCUIT: dict[str, Any] = {
    "n_qubits": None,
    "rotation": "RY",
    "entangler": "ring",
    "depth": 1,
    "entangling_gate": "CNOT",
    "rotation_after": "none",
    "reuploading": False,
    "readout": "Z",
    "norm": "drop",
    "circuits": 1,
    "scaling": 1.0,
    "up_proj_bias": True,
    "train_angles": True,
    "share_circuit": False,
    "fused_parts": {},
    "fused_layouts": {},
    "depth_pattern": {},
    "readout_pattern": {},
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
        >>> QAAConfig(target_modules=["q_proj", "v_proj"]).circuit(2048) == Circuit(n_qubits=11)
        True
    """

    without_effect = frozenset({"n_qubits", "train_angles", "preset"})

    n_qubits: int | None = field(
        default=PAPER_CIRCUIT["n_qubits"],
        metadata={
            "help": "Number of qubits; unset, ceil(log2 d_in) for each module, the smallest that fits."
        },
    )
    rotation: str = field(
        default=PAPER_CIRCUIT["rotation"], metadata={"help": "Rotations on each wire: RY, RYRZ or Rot."}
    )
    entangler: str | list[list[int]] = field(
        default=PAPER_CIRCUIT["entangler"],
        metadata={
            "help": "Gates after each layer of rotations: ring, linear, all-to-all, none, or pairs of wires."
        },
    )
    depth: int = field(
        default=PAPER_CIRCUIT["depth"],
        metadata={"help": "Number of layers of rotations and entangling gates."},
    )
    entangling_gate: str = field(
        default=PAPER_CIRCUIT["entangling_gate"], metadata={"help": "Gate on each pair of wires: CNOT or CZ."}
    )
    rotation_after: str = field(
        default=PAPER_CIRCUIT["rotation_after"],
        metadata={"help": "Rotations on each wire after the entangler: none, RY, RYRZ or Rot."},
    )
    reuploading: bool = field(
        default=PAPER_CIRCUIT["reuploading"],
        metadata={"help": "Whether layers are separated by a reflection about the encoded input."},
    )
    readout: str | list[str] = field(
        default=PAPER_CIRCUIT["readout"],
        metadata={
            "help": "Observables: Z, Z+ZZ, XYZ, probabilities, interferometric, or Pauli words like 'X0 Z2'."
        },
    )
    norm: str = field(
        default=PAPER_CIRCUIT["norm"],
        metadata={"help": "Whether the input's norm, lost by the encoding, multiplies z: drop or restore."},
    )
    circuits: int = field(
        default=PAPER_CIRCUIT["circuits"],
        metadata={"help": "Number of circuits that run in parallel on the same input."},
    )
    scaling: float = field(
        default=PAPER_CIRCUIT["scaling"], metadata={"help": "Factor s of the branch before it is added."}
    )
    up_proj_bias: bool = field(
        default=PAPER_CIRCUIT["up_proj_bias"],
        metadata={"help": "Whether the up-projection has the bias b_up."},
    )
    train_angles: bool = field(
        default=PAPER_CIRCUIT["train_angles"],
        metadata={
            "help": "Whether the angles are trained; false keeps them at their random start, a control: what "
            "an adapter learns then, its up-projection learns."
        },
    )
    depth_pattern: dict[str, int] = field(
        default_factory=dict,
        metadata={
            "help": "Depths of single modules instead of `depth`: name, ending or regular expression -> "
            "depth."
        },
    )
    readout_pattern: dict[str, str | list[str]] = field(
        default_factory=dict,
        metadata={
            "help": "Readouts of single modules instead of `readout`: name, ending or regular expression -> "
            "readout."
        },
    )
    share_circuit: bool = field(
        default=False,
        metadata={
            "help": "Whether target modules that read the same input, such as q_proj, k_proj and v_proj of "
            "one attention, have one circuit together: it runs once, each module has an up-projection of its "
            "own."
        },
    )
    fused_parts: dict[str, list[str]] = field(
        default_factory=dict,
        metadata={
            "help": "Parts of fused projections that get a circuit each instead of one for all: name, ending "
            "or regular expression -> parts, such as {'query_key_value': ['q', 'v']}."
        },
    )
    fused_layouts: dict[str, dict[str, Any]] = field(
        default_factory=dict,
        metadata={
            "help": "How the outputs of the modules in `fused_parts` are divided: their parts in order, the "
            "widths of these, and how often they are repeated (groups); unset, as in the architecture."
        },
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
        if self.preset == "paper":
            for name, value in PAPER_CIRCUIT.items():
                if getattr(self, name) != value:
                    raise ConfigError(
                        f"`{name}` must be {value!r} with preset: 'paper', but is {getattr(self, name)!r}. "
                        f"Leave `{name}` or `preset` unset."
                    )
        self._check_circuit()
        if isinstance(self.scaling, bool) or not isinstance(self.scaling, int | float):
            raise ConfigError(
                f"`scaling` must be a number, but is {self.scaling!r}. The paper's preset uses 1.0."
            )
        if not isinstance(self.train_angles, bool):
            raise ConfigError(
                f"`train_angles` must be true or false, but is {self.train_angles!r}. Leave it unset "
                "to train the angles."
            )
        check_fused(self.fused_parts, self.fused_layouts)
        if not isinstance(self.share_circuit, bool):
            raise ConfigError(
                f"`share_circuit` must be true or false, but is {self.share_circuit!r}. Leave it unset to "
                "give each module a circuit of its own."
            )

    def parts(self, module_name: str) -> FusedParts | None:
        """Give the parts of a fused projection that have circuits of their own.

        Args:
            module_name: the module's name in the model.

        Returns:
            The parts; None for a module that has its circuits for all of its output.
        """
        return parts_of(self.fused_parts, self.fused_layouts, module_name)

    def circuit(self, features: int, module_name: str = "") -> Circuit:
        """Give the circuit for a module.

        Args:
            features: the module's input width d_in.
            module_name: its name in the model, which `depth_pattern` and `readout_pattern` are looked up by.

        Returns:
            The circuit on `n_qubits` qubits or, when that is unset, on ceil(log2 d_in).

        Raises:
            ConfigError: a circuit field has a value it cannot have.

        Example:
            >>> QAAConfig(depth_pattern={"v_proj": 3}).circuit(2048, "layers.0.v_proj").ansatz.depth
            3
        """
        n_qubits = qubits_for(features) if self.n_qubits is None else self.n_qubits
        return self._circuit(
            n_qubits,
            depth=pattern_value(self.depth_pattern, module_name, self.depth),
            readout=pattern_value(self.readout_pattern, module_name, self.readout),
        )

    def _circuit(self, n_qubits: int, **changed: Any) -> Circuit:
        fields = {name: getattr(self, name) for name in Circuit(n_qubits=1).to_dict()}
        return Circuit.from_dict(fields | changed | {"n_qubits": n_qubits})

    def _check_circuit(self) -> None:
        """Refuse what no module's circuit could be, before the modules and their widths are known."""
        advice = "Give the number of circuits in parallel; 1 is the paper's."
        check_integer("circuits", self.circuits, 1, advice)
        self._widest_circuit()
        for name in ("depth", "readout"):
            pattern = getattr(self, f"{name}_pattern")
            check_pattern(f"{name}_pattern", pattern, partial(self._check_setting, name))

    def _check_setting(self, name: str, value: Any) -> None:
        self._widest_circuit(**{name: value})

    def _widest_circuit(self, **changed: Any) -> Circuit:
        # The modules' widths are not known yet: enough qubits for the wires that are named, 64 at most.
        named = [
            int(wire)
            for value in (changed.get("readout", self.readout), self.entangler)
            if not isinstance(value, str)
            for wire in re.findall(r"\d+", str(value))
        ]
        enough = min(64, 1 + max(named, default=0))
        return self._circuit(enough if self.n_qubits is None else self.n_qubits, **changed)
