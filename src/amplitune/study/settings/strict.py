"""The base of every configuration model: wrong keys and values become errors that name the key."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, get_args

import pydantic
from pydantic import BaseModel, ConfigDict

from amplitune.errors import near_matches
from amplitune.study.settings.problems import InvalidKeysError, Location, Origins, Problem, value_at


class StrictModel(BaseModel):
    """A pydantic model that refuses unknown keys and raises `ConfigError`.

    Example:
        >>> from amplitune.errors import ConfigError
        >>> class Optimizer(StrictModel):
        ...     learning_rate: float = 1e-3
        >>> try:
        ...     Optimizer.parse({"learnin_rate": 1})
        ... except ConfigError as error:
        ...     print(error)
        `learnin_rate` is not a key that is known here. Did you mean 'learning_rate'?
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], source: str | Origins = "", problems: Sequence[Problem] = ()
    ) -> Self:
        """Validate a mapping as YAML gives it.

        Args:
            values: keys and values.
            source: where they come from, for the message: a name for all, or the place of each key.
            problems: what is known to be wrong already, to be reported with the rest.

        Raises:
            ConfigError: a line for each key that is unknown, missing or has a wrong value.
        """
        found = list(problems)
        try:
            parsed = cls.model_validate(values)
        except pydantic.ValidationError as error:
            found += _problems(cls, values, error)
        if found:
            origins = source if isinstance(source, Origins) else Origins(source=source)
            raise InvalidKeysError(found, [origins.line(problem) for problem in found]) from None
        return parsed


def _problems(
    model: type[BaseModel], values: Mapping[str, Any], error: pydantic.ValidationError
) -> list[Problem]:
    """The problems of a validation; the members of a union, each of which refuses, are one problem."""
    found: dict[tuple[Location, str], Problem] = {}
    refusals: dict[Location, list[str]] = {}
    for details in error.errors():
        location = tuple(details["loc"])
        kind = details["type"]
        if kind == "extra_forbidden":
            hint = near_matches(str(location[-1]), _fields_at(model, location[:-1]))
            problems = [Problem(location, f" is not a key that is known here. {hint}")]
        elif kind == "missing":
            problems = [Problem(location, " is missing. Set it.")]
        elif kind == "value_error":
            problems = _raised(location, details["ctx"]["error"])
        else:
            location, given = value_at(values, location)
            message = details["msg"][:1].lower() + details["msg"][1:]
            refusals.setdefault(location, []).append(message.removeprefix("input should be "))
            text = f": input should be {' or '.join(dict.fromkeys(refusals[location]))}, but is {given!r}. "
            if not message.startswith("input should be "):
                text = f": {message}, but is {given!r}. "
            found[location, ""] = Problem(location, text + _advice(details, given))
            continue
        for problem in problems:
            found[problem.location, str(problem)] = problem
    return list(found.values())


def _raised(location: Location, error: Exception) -> list[Problem]:
    """The problems in what a validator of ours raised."""
    if isinstance(error, InvalidKeysError):
        return [problem.below(location) for problem in error.problems]
    text = str(error)
    whole = not location or f"`{location[-1]}`" in text
    return [Problem(location, text if whole else f": {text}", names_key=not whole)]


def _advice(details: Any, given: Any) -> str:
    if details["type"] == "literal_error" and isinstance(given, str):
        valid = [part.strip("' ") for part in details["ctx"]["expected"].replace(" or ", ",").split(",")]
        return near_matches(given, valid)
    return "Correct it."


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The field names of the model that a pydantic location (names and list indices) leads to."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            nested = _model_in(model.model_fields[part].annotation)
            if nested is not None:
                model = nested
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
