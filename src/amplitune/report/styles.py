"""Colour, dash and marker of each method, the same in every figure of a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amplitune.report.roles import Role
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
    """How one method is drawn in every figure of a page; a hollow mark is a reference's or a control's."""

    variable: str
    dash: object
    marker: str
    hollow: bool = False

    @property
    def colour(self) -> str:
        """The colour to draw with; `inline_svg` replaces it by the CSS variable."""
        return SENTINELS[self.variable]


def method_styles(methods: Sequence[str], roles: Mapping[str, Role] | None = None) -> dict[str, Style]:
    """Give each method a colour, a dash and a marker; beyond eight methods colours recur with other marks.

    Args:
        methods: the methods in their order.
        roles: their roles; a method without one is drawn as a method.

    Returns:
        method -> style; methods and references take the first colours, which are told apart best.

    Example:
        >>> method_styles(["full", "lora"])["lora"].variable
        'series-2'
    """
    roles = roles or {}
    parts = {"method": 0, "reference": 0, "control": 1, "matched": 2}
    ordered = sorted(methods, key=lambda method: parts[roles.get(method, Role()).kind])
    return {
        method: Style(
            f"series-{index % SERIES + 1}",
            _DASHES[(index + index // SERIES) % SERIES],
            _MARKERS[(index + index // SERIES) % SERIES],
            roles.get(method, Role()).kind in ("reference", "control"),
        )
        for index, method in enumerate(ordered)
    }
