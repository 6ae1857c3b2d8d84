"""Problems of a configuration: which key each is about, gathered so that all are reported together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amplitune.errors import ConfigError

Location = tuple[str | int, ...]
"""Keys and list indices from the top of a configuration down to a value."""

_QUOTED = re.compile(r"`([^`\s]+)`")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one key.

    Args:
        location: the key, or the mapping that the problem is in.
        text: what is wrong and what to do; follows the key's name if `names_key`, a whole message otherwise.
        names_key: whether the message starts with the key.
    """

    location: Location
    text: str
    names_key: bool = True

    def below(self, location: Location) -> "Problem":
        """The same problem, seen from further up."""
        return Problem((*location, *self.location), self.text, self.names_key)

    def __str__(self) -> str:
        """The message, with the key's dotted name where it begins with it."""
        return f"`{dotted(self.location)}`{self.text}" if self.names_key else self.text


class InvalidKeysError(ConfigError):
    """Keys or values of a configuration are wrong; holds a problem for each.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Sequence[Problem], lines: Sequence[str] = ()) -> None:
        super().__init__("\n".join(lines or [str(problem) for problem in problems]))
        self.problems = tuple(problems)


@dataclass
class Origins:
    """Where each key of a configuration was set.

    Args:
        places: location -> "study.yaml:12", or "override 'seeds=[1]'".
        source: what a key that stands nowhere is said to be of.

    Example:
        >>> origins = Origins({("tasks",): "study.yaml:3", ("tasks", 0): "study.yaml:4"})
        >>> origins.place(("tasks", 0, "name"))
        'study.yaml:4'
    """

    places: dict[Location, str] = field(default_factory=dict)
    source: str = ""

    def place(self, location: Location) -> str:
        """Where a key was set, or else the nearest mapping around it."""
        for end in range(len(location), 0, -1):
            if location[:end] in self.places:
                return self.places[location[:end]]
        return self.places.get((), self.source)

    def override(self, location: Location, text: str) -> None:
        """Say that a key, and all below it, comes from an override."""
        for key in [key for key in self.places if key[: len(location)] == location]:
            del self.places[key]
        self.places[location] = f"override {text!r}"

    def line(self, problem: Problem) -> str:
        """The problem's message behind the place that it is about."""
        place = self.place(self._named(problem))
        return f"{place}: {problem}" if place else str(problem)

    def _named(self, problem: Problem) -> Location:
        """The key that a whole message quotes, if it was set; otherwise the problem's location."""
        if problem.names_key:
            return problem.location
        for name in _QUOTED.findall(problem.text):
            named = tuple(int(part) if part.isdecimal() else part for part in name.split("."))
            for end in range(len(problem.location), -1, -1):
                for between in ((), ("config",), ("training",)):
                    location = (*problem.location[:end], *between, *named)
                    if location in self.places:
                        return location
        return problem.location


def dotted(location: Location) -> str:
    """A location as an override writes it.

    Example:
        >>> dotted(("tasks", 0, "max_length"))
        'tasks.0.max_length'
    """
    return ".".join(map(str, location))


def value_at(values: Any, location: Location) -> tuple[Location, Any]:
    """Follow a location as far as it leads.

    Args:
        values: nested mappings and lists.
        location: where to go; pydantic adds the names of a union's members, which lead nowhere.

    Returns:
        The part of the location that exists, and what is there.
    """
    for position, part in enumerate(location):
        known: Any = range(len(values)) if isinstance(values, list) else values
        if not isinstance(known, Mapping | range) or part not in known:
            return location[:position], values
        values = values[part]
    return location, values
