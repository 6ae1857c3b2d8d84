"""The frame that every figure of a page is drawn in."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from amplitune.report.svg import SENTINELS

WIDTH, HEIGHT = 460, 330  # of the viewBox; text of 13 is still 9 px wide on a phone of 360 px


@dataclass(frozen=True)
class Drawing:
    """A figure as inline SVG with its caption; `label` names it among others that it is switched with."""

    svg: str
    caption: str
    label: str = ""


def frame(right: float, names: int = 0) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes.

    Args:
        right: points left free at the right, for the names of curves.
        names: how many names stand there; with more than fit, the figure grows.
    """
    height = max(HEIGHT, 88 + 17 * names)
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    left, bottom, top = 46.0, 54.0, 34.0
    box = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - bottom - top) / height)
    axes = figure.add_axes(box)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return figure, axes


def title(axes: Axes, text: str) -> None:
    """Name what the vertical axis measures, above it."""
    axes.set_title(text, loc="left", fontsize=13, color=SENTINELS["muted"], pad=10)


def freeze(axes: Axes) -> None:
    """Fix the limits: names are placed by them, and what is drawn to place a name must not move them."""
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())


def logarithmic(axes: Axes, values: Sequence[float], write: Callable[[float], str]) -> None:
    """Make the horizontal axis logarithmic around positive values, its marks written by `write`."""
    low, high = min(values), max(values)
    first, last = math.log10(low), math.log10(high)
    margin = max(0.12, 0.08 * (last - first))
    decades = range(math.floor(first - margin), math.ceil(last + margin) + 1)
    step = math.ceil(len(decades) / 6)
    multiples = (1,) if last - first > 2 else (1, 2, 5) if last - first > 0.5 else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.set_xscale("log")
    axes.set_xlim(10.0 ** (first - margin), 10.0 ** (last + margin))
    marks = [m * 10.0**power for power in decades[::step] for m in multiples]
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: write(x)))
