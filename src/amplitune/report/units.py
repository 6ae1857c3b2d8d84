"""Numbers in the units that people read: 1.18 M parameters, 34 KB, 3.1 ms."""

import math

_COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1.0, "B"))
_JOULES = ((1e6, "MJ"), (1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"))
_SECONDS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def count(value: float) -> str:
    """Write a number of things: all digits below 10,000, three significant digits above.

    Example:
        >>> count(11), count(1234), count(1_180_176), count(float("nan"))
        ('11', '1,234', '1.18 M', '')
    """
    if not math.isfinite(value):
        return ""
    if abs(value) < 10_000:
        return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
    return _scaled(value, _COUNTS)


def size(value: float) -> str:
    """Write a number of bytes; a KB is 1000 bytes.

    Example:
        >>> size(34_012), size(999_999), size(0)
        ('34 KB', '1 MB', '0 B')
    """
    return _scaled(value, _BYTES)


def duration(value: float) -> str:
    """Write a time given in seconds.

    Example:
        >>> duration(0.0031), duration(1.5), duration(90), duration(9000)
        ('3.1 ms', '1.5 s', '1.5 min', '2.5 h')
    """
    return _scaled(value, _SECONDS)


def rate(value: float) -> str:
    """Write how many things happen in a second, without the unit.

    Example:
        >>> rate(12.345), rate(1234.5)
        ('12.3', '1,234')
    """
    if not math.isfinite(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def energy(value: float) -> str:
    """Write an energy given in joules.

    Example:
        >>> energy(0.25), energy(1530)
        ('250 mJ', '1.53 kJ')
    """
    return _scaled(value, _JOULES)


def significant(value: float) -> str:
    """Write a number with three significant digits and no unit.

    Example:
        >>> significant(1.2345), significant(0.000123), significant(12345.6), significant(-0.5)
        ('1.23', '0.000123', '12,346', '−0.5')
    """
    if not math.isfinite(value):
        return ""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "−")


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    if not math.isfinite(value):
        return ""
    rounded = float(f"{value:.3g}")  # first, so that 999,999 bytes are 1 MB and not 1000 KB
    scale, unit = next((pair for pair in units if abs(rounded) >= pair[0]), units[-1])
    number = rounded / scale
    return f"{number:,.0f} {unit}" if abs(number) >= 100 else f"{number:.3g} {unit}"
