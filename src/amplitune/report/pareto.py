"""Quality against cost, with the Pareto front of the methods marked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes

from amplitune.report.aggregate import MethodRow
from amplitune.report.axes import Drawing, frame, freeze, logarithmic, title
from amplitune.report.columns import Column
from amplitune.report.labels import label_points
from amplitune.report.styles import Style
from amplitune.report.svg import SENTINELS, SETTINGS, inline_svg
from amplitune.report.units import count, duration, size
from amplitune.report.words import joined
from amplitune.study.statistics.findings import Estimate
from amplitune.study.stored.results import LOWER_IS_BETTER


@dataclass(frozen=True)
class Point:
    """A method's cost and quality; `low` and `high` end the interval of the quality, None under two seeds."""

    method: str
    cost: float
    quality: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _Cost:
    """A cost that quality is drawn against."""

    column: str
    label: str
    axis: str
    write: Callable[[float], str]


COSTS = (
    _Cost("trainable_parameters", "Parameters", "Trainable parameters", count),
    _Cost("peak_memory_bytes", "Memory", "Peak memory", size),
    _Cost("train_seconds", "Time", "Time of training", duration),
)


def front(points: Sequence[Point], lower_is_better: bool = False) -> set[str]:
    """Find the methods that no other one beats in one of cost and quality without losing in the other.

    Example:
        >>> points = [("a", 1, 0.5), ("b", 2, 0.9), ("c", 3, 0.8)]
        >>> sorted(front([Point(*point, None, None) for point in points]))
        ['a', 'b']
    """
    sign = -1.0 if lower_is_better else 1.0

    def dominated(point: Point) -> bool:
        return any(
            other.cost <= point.cost
            and sign * other.quality >= sign * point.quality
            and (other.cost < point.cost or other.quality != point.quality)
            for other in points
        )

    return {point.method for point in points if not dominated(point)}


def draw_fronts(
    rows: Sequence[MethodRow],
    metric: Column,
    estimates: Sequence[Estimate],
    styles: Mapping[str, Style],
    identifier: str,
) -> tuple[Drawing, ...]:
    """Draw each method's quality against trainable parameters, peak memory and time of training.

    Args:
        rows: the methods of one task with the cells `metric.key` and the costs; no matched variant is drawn.
        metric: the task's primary metric.
        estimates: the task's estimates, whose intervals are drawn.
        styles: method -> how it is drawn.
        identifier: prefix of the SVGs' ids.

    Returns:
        A drawing for each cost that at least one trained method has; an untrained model is a horizontal line.
    """
    shown = [row for row in rows if row.role.kind != "matched"]
    intervals = {estimate.method: estimate for estimate in estimates}
    drawings = []
    for cost in COSTS:
        points, lines = _points(shown, metric, cost, intervals)
        if points:
            drawings.append(_draw(points, lines, metric, cost, styles, f"{identifier}-{cost.label.lower()}"))
    return tuple(drawings)


def _points(
    rows: Sequence[MethodRow], metric: Column, cost: _Cost, intervals: Mapping[str, Estimate]
) -> tuple[list[Point], list[tuple[str, float]]]:
    """The trained methods as points, the untrained ones as heights."""
    points, lines = [], []
    for row in rows:
        quality, price = row.cells.get(metric.key), row.cells.get(cost.column)
        parameters = row.cells.get("trainable_parameters")
        if quality is None:
            continue
        if parameters is not None and parameters.mean == 0:
            lines.append((row.method, quality.mean))
        elif price is not None and price.mean > 0:
            known = intervals.get(row.method)
            ends = (known.low, known.high) if known else (None, None)
            points.append(Point(row.method, price.mean, quality.mean, *ends))
    return points, lines


def _draw(
    points: Sequence[Point],
    lines: Sequence[tuple[str, float]],
    metric: Column,
    cost: _Cost,
    styles: Mapping[str, Style],
    identifier: str,
) -> Drawing:
    lower = metric.key in LOWER_IS_BETTER
    best = front(points, lower)
    ordered = sorted((point for point in points if point.method in best), key=lambda point: point.cost)
    with matplotlib.rc_context(SETTINGS):
        figure, axes = frame(20.0)
        logarithmic(axes, [point.cost for point in points], cost.write)
        steps = ([p.cost for p in ordered], [p.quality for p in ordered])
        axes.plot(*steps, color=SENTINELS["muted"], linewidth=1, drawstyle="steps-post", zorder=1)
        for point in points:
            _mark(axes, point, styles[point.method], point.method in best)
        for _, height in lines:
            axes.axhline(height, color=SENTINELS["muted"], linewidth=1.5, linestyle=(0, (4, 3)))
        axes.margins(y=0.16)
        title(axes, metric.label)
        axes.set_xlabel(f"{cost.axis}, logarithmic")
        freeze(axes)
        bars = [(p.cost, p.low, p.high) for p in points if p.low is not None and p.high is not None]
        label_points(axes, [(p.method, p.cost, p.quality) for p in points], lines, bars)
    axis = cost.axis[0].lower() + cost.axis[1:]
    caption = f"{metric.label} on the test split ({metric.meaning}) against {axis}. "
    caption += f"On the front, beaten by no method in both: {joined(p.method for p in ordered)}"
    caption += "; the others are faint" * (len(ordered) < len(points))
    caption += ". Marks are means over seeds"
    caption += ", vertical lines their 95 % intervals" * any(point.low is not None for point in points)
    caption += "; hollow marks are references and controls" * any(styles[p.method].hollow for p in points)
    names = joined(method for method, _ in lines)
    caption += f"; {names}, which trains nothing, is the dashed line" if lines else ""
    return Drawing(
        inline_svg(figure, identifier, f"{metric.label} against {axis}"), f"{caption}.", cost.label
    )


def _mark(axes: Axes, point: Point, style: Style, on_front: bool) -> None:
    alpha = 1.0 if on_front else 0.45
    if point.low is not None and point.high is not None:
        ends = [point.low, point.high]
        axes.plot([point.cost] * 2, ends, color=style.colour, linewidth=2, alpha=alpha, solid_capstyle="butt")
    axes.plot(
        point.cost,
        point.quality,
        style.marker,
        color=SENTINELS["surface"] if style.hollow else style.colour,
        markersize=11,
        markeredgewidth=2.2 if style.hollow else 1.5,
        markeredgecolor=style.colour if style.hollow else SENTINELS["surface"],
        alpha=alpha,
    )
