"""What differs between the environments that the rows of one study were made in."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DIRTY = "-dirty"
"""What git writes behind a commit when the files differ from it."""


@dataclass(frozen=True)
class Difference:
    """One fact of an environment that is not what it is in the other one; None where it is not known."""

    fact: str
    usual: str | None
    other: str | None

    @property
    def text(self) -> str:
        """The difference in words: "torch 2.9.0 instead of 2.8.0"."""
        name = self.fact.removeprefix("packages.").replace("_", " ")
        usual, other = _short(self.usual), _short(self.other)
        return f"{name} {other or 'unknown'} instead of {usual or 'unknown'}"


@dataclass(frozen=True)
class Provenance:
    """Where the rows of a study come from.

    Args:
        usual: key of the environment that most rows were made in; None where no row has one.
        odd: key of every other environment -> what differs there from the usual one.
        dirty: keys of environments whose code had changes that no commit holds.
    """

    usual: str | None
    odd: dict[str, tuple[Difference, ...]]
    dirty: tuple[str, ...]


def differences(usual: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    """List what differs between two environments: code first, then device, then versions.

    Args:
        usual: the content of an env.json.
        other: the content of another one.

    Example:
        >>> first = {"device": "cpu", "packages": {"torch": "2.8.0"}}
        >>> [found.text for found in differences(first, {"device": "cpu", "packages": {"torch": "2.9.0"}})]
        ['torch 2.9.0 instead of 2.8.0']
    """
    first, second = _flat(usual), _flat(other)
    found = [
        Difference(fact, first.get(fact), second.get(fact))
        for fact in dict.fromkeys([*first, *second])
        if first.get(fact) != second.get(fact)
    ]
    order = ("amplitune_commit", "packages.amplitune", "device")
    return tuple(sorted(found, key=lambda one: order.index(one.fact) if one.fact in order else len(order)))


def provenance(rows: Iterable[str | None], environments: Mapping[str, Mapping[str, Any]]) -> Provenance:
    """Compare the environments of a study's rows.

    Args:
        rows: key of the environment of each row, None where it is not known.
        environments: key -> the content of env.json.

    Returns:
        The environment of most rows (of equally many, the first) and what differs in the others.
    """
    counted = Counter(key for key in rows if key is not None and key in environments)
    if not counted:
        return Provenance(None, {}, ())
    usual = counted.most_common(1)[0][0]
    odd = {key: differences(environments[usual], environments[key]) for key in counted if key != usual}
    dirty = [key for key in counted if str(environments[key].get("amplitune_commit") or "").endswith(DIRTY)]
    return Provenance(usual, odd, tuple(dirty))


def _short(value: str | None) -> str:
    """A value in few letters: twelve name a commit."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28}\b", r"\1", value or "")


def _flat(environment: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Facts by name with dots for nesting; what is None is not known."""
    facts: dict[str, str] = {}
    for name, value in environment.items():
        if isinstance(value, Mapping):
            facts |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            listed = isinstance(value, Sequence) and not isinstance(value, str)
            facts[f"{prefix}{name}"] = ", ".join(map(str, value)) if listed else str(value)
    return facts
