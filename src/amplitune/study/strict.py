"""The base of every configuration model: wrong keys and values become errors that name the key."""

from collections.abc import Mapping
from typing import Any, Self, get_args

import pydantic
from pydantic import BaseModel, ConfigDict

from amplitune.errors import ConfigError, near_matches


class StrictModel(BaseModel):
    """A pydantic model that refuses unknown keys and raises `ConfigError`.

    Example:
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
    def parse(cls, values: Mapping[str, Any], source: str = "") -> Self:
        """Validate a mapping as YAML gives it.

        Args:
            values: keys and values.
            source: where they come from (a file's name), for the message.

        Raises:
            ConfigError: one line for each key that is unknown, missing or has a wrong value.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            lines = [_line(cls, values, problem) for problem in error.errors()]
            prefix = f"{source}: " if source else ""
            raise ConfigError("\n".join(prefix + line for line in lines)) from None


def _line(model: type[BaseModel], values: Mapping[str, Any], problem: Any) -> str:
    location = problem["loc"]
    key = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        valid = _fields_at(model, location[:-1])
        return f"`{key}` is not a key that is known here. {near_matches(str(location[-1]), valid)}"
    if problem["type"] == "missing":
        return f"`{key}` is missing. Set it."
    if problem["type"] == "value_error":
        text = str(problem["ctx"]["error"])
        return text if f"`{location[-1] if location else ''}`" in text or not key else f"`{key}`: {text}"
    given = problem["input"]
    return f"`{key}`: {problem['msg'].lower()}, but is {given!r}. Correct it."


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
