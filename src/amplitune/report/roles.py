"""The part that each method plays in a comparison: method, reference, control or matched variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from amplitune.study.methods.registry import REFERENCES

MEANINGS = {
    "qaa-frozen": "angles stay as drawn",
    "qaa-no-entangler": "no entangling gates",
    "qaa-projection": "a fixed random projection, linear",
    "qaa-squares": "squares of a fixed random projection",
    "qaa-givens": "the classical twin: learned mixing, squares",
}
"""What a control has in the place of its method's circuit, or changes in it."""

Kind = Literal["method", "reference", "control", "matched"]


@dataclass(frozen=True)
class Role:
    """The part of one method.

    Args:
        kind: the part.
        of: the method that a control belongs to.
        meaning: what a control has in the place of its method's circuit.
        parameters: what the size of a matched variant is matched to.
    """

    kind: Kind = "method"
    of: str = ""
    meaning: str = ""
    parameters: int | None = None

    @property
    def text(self) -> str:
        """A few words to stand beside the name; empty where the name says all."""
        if self.kind == "control":
            return f"control of {self.of}"
        if self.kind == "matched":
            return "matched parameters"
        return ""


def role_of(study: Mapping[str, Any], method: str) -> Role:
    """Find the role of a method.

    Args:
        study: the content of study.resolved.yaml.
        method: a method's name in that study; one that the study does not name plays the part of a method.

    Example:
        >>> study = {"methods": ["full", {"name": "qaa-frozen", "method": "qaa", "control_of": "qaa"}]}
        >>> [role_of(study, name).kind for name in ("full", "qaa-frozen", "qaa")]
        ['reference', 'control', 'method']
    """
    entry: Mapping[str, Any] = {}
    for given in study.get("methods") or ():
        described = given if isinstance(given, Mapping) else {"method": str(given)}
        if str(described.get("name") or described.get("method")) == method:
            entry = described
            break
    # A control's matched variant is a control: it is compared with its method, not with the baseline.
    if entry.get("control_of"):
        meaning = MEANINGS.get(str(entry.get("method")), "")
        return Role("control", of=str(entry["control_of"]), meaning=meaning)
    if entry.get("matched_to"):
        return Role("matched", parameters=int(entry["matched_to"]))
    return Role("reference" if (entry.get("method") or method) in REFERENCES else "method")


def roles_of(study: Mapping[str, Any], methods: list[str]) -> dict[str, Role]:
    """Find the role of each of several methods."""
    return {method: role_of(study, method) for method in methods}
