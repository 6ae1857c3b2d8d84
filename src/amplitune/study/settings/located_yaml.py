"""YAML whose every key remembers the line on which it stands."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from amplitune.study.settings.problems import Location, Origins, Problem


class Loader(yaml.SafeLoader):
    """YAML 1.1 with the numbers of YAML 1.2."""


# PyYAML reads 1e-3 as text: its YAML 1.1 wants a dot and a sign, 1.0e-3.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+"),
    list("-+.0123456789"),
)


def parse(text: str) -> Any:
    """The value that a text holds.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader by inheritance


def parse_located(text: str, source: str) -> tuple[Any, Origins, list[Problem]]:
    r"""The value that a text holds, with the place of each key.

    Args:
        text: YAML.
        source: the file's name.

    Returns:
        The value; where each key stands; a problem for each key that stands in its mapping more than once.

    Raises:
        yaml.YAMLError: it is not YAML.

    Example:
        >>> _, origins, _ = parse_located("seeds: [0]\ntraining:\n  max_steps: 5\n", "study.yaml")
        >>> origins.place(("training", "max_steps"))
        'study.yaml:3'
    """
    origins = Origins(source=source)
    problems: list[Problem] = []
    node = yaml.compose(text, Loader=Loader)
    if node is not None:
        for location, line, repeated in _walk(node, (), ()):
            place = f"{source}:{line}"
            if repeated:
                first = origins.places[location]
                said = f" stands {repeated} times in its mapping, first at {first}. Keep one."
                problems.append(Problem(location, said))
                origins.places[location] = place
            origins.places.setdefault(location, place)
    return parse(text), origins, problems


def _walk(node: Any, location: Location, around: tuple[int, ...]) -> Iterator[tuple[Location, int, int]]:
    """Each key below a node with its line and, at its last repetition, how often it stands there."""
    if id(node) in around:
        return  # an alias to what contains it
    around = (*around, id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            yield (*location, index), entry.start_mark.line + 1, 0
            yield from _walk(entry, (*location, index), around)
    elif isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        merged = []
        for position, (key, value) in enumerate(node.value):
            if key.tag == "tag:yaml.org,2002:merge":
                merged.append(value)
                continue
            name = str(key.value)
            times = keys.count(name)
            yield (
                (*location, name),
                key.start_mark.line + 1,
                times if name in keys[:position] and (name not in keys[position + 1 :]) else 0,
            )
            yield from _walk(value, (*location, name), around)
        # What a mapping sets itself goes before what it merges, and so do the lines.
        for value in merged:
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for part in parts:
                yield from _walk(part, location, around)
