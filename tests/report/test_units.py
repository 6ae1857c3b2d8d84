"""Numbers in the units that people read."""

import math
from collections.abc import Callable

import pytest

from amplitune.report.units import count, duration, rate, size


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (count, 0, "0"),
        (count, 9999, "9,999"),
        (count, 12.5, "12.5"),
        (count, 10_000, "10 K"),
        (count, 999_999, "1 M"),
        (count, 1_180_176, "1.18 M"),
        (count, 1_315_575_808, "1.32 B"),
        (size, 51_024, "51 KB"),
        (size, 412_000_000, "412 MB"),
        (size, 999_600, "1 MB"),
        (duration, 0.0031, "3.1 ms"),
        (duration, 0.9999, "1 s"),
        (duration, 2e-7, "0.2 µs"),
        (duration, 59.99, "1 min"),
        (rate, 99.95, "100"),
        (rate, 812.4, "812"),
    ],
)
def test_a_number_is_written_in_its_unit(write: Callable[[float], str], value: float, expected: str) -> None:
    assert write(value) == expected


@pytest.mark.parametrize("write", [count, size, duration, rate])
@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_a_missing_number_is_blank(write: Callable[[float], str], missing: float) -> None:
    assert write(missing) == ""
