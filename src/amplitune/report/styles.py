"""Colour, dash and marker of each method, the same in every figure of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from amplitune.report.svg import SENTINELS, SERIES

# Distinct without colour as well: each series has a dash and a marker of its own.
_DASHES: tuple[object, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (8, 2, 2, 2)),
    (0, (1, 1)),
    (0, (10, 3)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (3, 3)),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")


@dataclass(frozen=True)
class Style:
    """How one method is drawn in every figure of a page."""

    variable: str
    dash: object
    marker: str

    @property
    def colour(self) -> str:
        """The colour to draw with; `inline_svg` replaces it by the CSS variable."""
        return SENTINELS[self.variable]


def method_styles(methods: Sequence[str]) -> dict[str, Style]:
    """Give each method a colour, a dash and a marker; beyond eight methods colours recur with other marks.

    Example:
        >>> method_styles(["full", "lora"])["lora"].variable
        'series-2'
    """
    return {
        method: Style(
            f"series-{index % SERIES + 1}",
            _DASHES[(index + index // SERIES) % SERIES],
            _MARKERS[(index + index // SERIES) % SERIES],
        )
        for index, method in enumerate(methods)
    }
