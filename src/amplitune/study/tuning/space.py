"""What a setting may be set to by tuning: a list of values or a range of numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amplitune.errors import ConfigError, near_matches

EDGE = 0.05
"""A number within this share of a range from its end, on the range's own scale, lies at the edge."""


@dataclass(frozen=True)
class Choices:
    """A list of values.

    Args:
        values: at least one, distinct; numbers in any order, names, lists, truth values.
    """

    values: tuple[Any, ...]

    def to_value(self) -> list[Any]:
        """The space as YAML writes it."""
        return list(self.values)

    def samples(self) -> list[Any]:
        """Values by which the space can be checked: all of them."""
        return list(self.values)

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return all(map(_is_number, self.values))

    def ordered(self) -> list[Any]:
        """The values: numbers from the smallest, others as they are listed."""
        return sorted(self.values) if self.is_numeric else list(self.values)

    def nearest(self, value: Any) -> Any:
        """The value itself if it is listed, otherwise the nearest number or else the first value."""
        numbers = [entry for entry in self.values if _is_number(entry)]
        if value in self.values or not _is_number(value) or not numbers:
            return value if value in self.values else self.values[0]
        return min(numbers, key=lambda number: abs(number - value))

    def at_edge(self, value: Any) -> bool:
        """Whether a better value may lie beyond: the smallest or largest of numbers, save a count of one.

        Example:
            >>> sizes = Choices((1, 2, 4, 8))
            >>> [sizes.at_edge(value) for value in sizes.values]
            [False, False, False, True]
        """
        numbers = [entry for entry in self.values if _is_number(entry)]
        if not _is_number(value) or len(numbers) < 2:
            return False
        # No count lies below one, so nothing was missed there.
        return value == max(numbers) or (
            value == min(numbers) and not (value == 1 and isinstance(value, int))
        )


@dataclass(frozen=True)
class Range:
    """All numbers between two; whole ones where both ends are whole.

    Args:
        low: smallest.
        high: largest.
        log: whether equal ratios count alike, instead of equal differences.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def to_value(self) -> dict[str, Any]:
        """The space as YAML writes it."""
        return {"low": self.low, "high": self.high, "log": self.log}

    def samples(self) -> list[Any]:
        """Values by which the space can be checked: its ends."""
        return [self.low, self.high]

    def nearest(self, value: Any) -> Any:
        """The value itself if it lies between the ends, otherwise the nearer end or else the middle."""
        return min(max(value, self.low), self.high) if _is_number(value) else self.at(0.5)

    def position(self, value: float) -> float:
        """Where a value lies between low (0) and high (1), on the range's scale."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def at(self, position: float) -> float:
        """The value at a position between 0 and 1; rounded to six digits, or to a whole number."""
        if self.log:
            value = math.exp(math.log(self.low) + position * math.log(self.high / self.low))
        else:
            value = self.low + position * (self.high - self.low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else float(f"{value:.6g}")

    def at_edge(self, value: Any) -> bool:
        """Whether a better value may lie beyond: within the last 5 % of the range.

        Example:
            >>> rates = Range(1e-5, 1e-2, log=True)
            >>> rates.at_edge(1.3e-5), rates.at_edge(1e-4), rates.at_edge(9e-3)
            (True, False, True)
        """
        position = self.position(value)
        if self.whole and value == 1:
            return False
        return position <= EDGE or position >= 1 - EDGE


Space = Choices | Range


def parse_space(key: str, value: Any, log: bool = False) -> Space:
    """Read a space as a study file gives it.

    Args:
        key: the setting's name, for messages.
        value: a list of values or a mapping with low, high and log.
        log: what `log` is where it is left out.

    Raises:
        ConfigError: it is neither, or its numbers cannot be a range.

    Example:
        >>> parse_space("config.r", [4, 8])
        Choices(values=(4, 8))
        >>> parse_space("learning_rate", {"low": 1e-4, "high": 1e-2}, log=True)
        Range(low=0.0001, high=0.01, log=True)
    """
    name = f"`search_space.{key}`"
    if isinstance(value, list | tuple):
        distinct: list[Any] = []
        for entry in value:
            # 1 and True are equal, yet not the same value of a setting.
            if any(entry == other and type(entry) is type(other) for other in distinct):
                raise ConfigError(f"{name} must list distinct values, but has {entry!r} twice. Remove one.")
            distinct.append(entry)
        if not distinct:
            raise ConfigError(f"{name} must list at least one value, but is empty. Add one, or remove it.")
        return Choices(tuple(distinct))
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{name} must be a list of values or a mapping with low, high and log, but is {value!r}. "
            "Write [4, 8, 16] or {low: 1.0e-5, high: 1.0e-2, log: true}."
        )
    for part in value:
        if part not in ("low", "high", "log"):
            raise ConfigError(
                f"{name} must have the keys low, high and log, but has {part!r}. "
                f"{near_matches(str(part), ('low', 'high', 'log'))}"
            )
    low, high = value.get("low"), value.get("high")
    for end, number in (("low", low), ("high", high)):
        if not _is_number(number) or not math.isfinite(number or 0):
            given = f"is {number!r}" if end in value else "is missing"
            raise ConfigError(f"`search_space.{key}.{end}` must be a number, but {given}. Set one.")
    scale = value.get("log", log)
    if not isinstance(scale, bool):
        raise ConfigError(f"`search_space.{key}.log` must be true or false, but is {scale!r}. Correct it.")
    assert low is not None
    assert high is not None
    if low >= high:
        raise ConfigError(
            f"{name} must have low below high, but has {low!r} and {high!r}. Swap or widen them."
        )
    if scale and low <= 0:
        raise ConfigError(f"{name} must have low above 0 with log: true, but has {low!r}. Raise it.")
    return Range(low, high, scale)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
