"""Names of methods placed in a figure beside their curves and marks."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from amplitune.report.styles import Style
from amplitune.report.svg import SENTINELS

LABEL_HEIGHT = 17  # points between the middles of two names


def short(name: str) -> str:
    """Cut a name that would not fit beside a figure."""
    return name if len(name) <= 16 else name[:15] + "…"


def width(text: str) -> float:
    """Width of a text in points; browsers' own fonts are narrower than the one measured here."""
    return float(
        TextPath((0, 0), text, size=13, prop=FontProperties(family="DejaVu Sans")).get_extents().width
    )


def spread_apart(wanted: Sequence[float], distance: float, lowest: float, highest: float) -> list[float]:
    """Move heights as little as possible until neighbours are `distance` apart (least squares).

    Args:
        wanted: ascending heights.
        distance: least distance between neighbours.
        lowest: no height is below it, if there is room.
        highest: no height is above it.

    Example:
        >>> spread_apart([10.0, 11.0, 50.0], 5.0, 0.0, 100.0)
        [8.0, 13.0, 50.0]
    """
    # With i * distance taken off, "at least `distance` apart" reads "not descending": isotonic regression.
    pools: list[tuple[float, int]] = []
    for index, height in enumerate(wanted):
        pools.append((height - index * distance, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (below, n), (above, m) = pools[-2:]
            pools[-2:] = [((below * n + above * m) / (n + m), n + m)]
    flat = [mean for mean, n in pools for _ in range(n)]
    ceiling = highest - (len(wanted) - 1) * distance
    return [min(max(mean, lowest), ceiling) + index * distance for index, mean in enumerate(flat)]


def _write(axes: Axes, left: float, middle: float, text: str, colour: str) -> None:
    """Write a text at a place given in points of the figure."""
    x, y = axes.transData.inverted().transform((left, middle))
    axes.text(float(x), float(y), text, va="center", color=SENTINELS[colour], fontsize=13)


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, float]], styles: Mapping[str, Style]) -> None:
    """Name each curve at its right end, pushed apart where the names would overlap."""
    to_pixels = axes.transData.transform
    ordered = sorted(
        ((float(to_pixels((x, y))[1]), method, x, y) for method, x, y in ends), key=lambda end: end[0]
    )
    bottom, top = (float(edge) for edge in axes.get_window_extent().intervaly)
    heights = spread_apart([end[0] for end in ordered], LABEL_HEIGHT, bottom, top)
    right = float(axes.get_window_extent().intervalx[1])
    from_pixels = axes.transData.inverted().transform
    for height, (_, method, x, y) in zip(heights, ordered, strict=True):
        style = styles[method]
        label_x, label_y = (float(value) for value in from_pixels((right + 14, height)))
        axes.plot([x, label_x], [y, label_y], color=style.colour, linewidth=0.8, clip_on=False)
        axes.plot(x, y, style.marker, color=style.colour, markersize=7, clip_on=False, zorder=5)
        _write(axes, right + 18, height, short(method), "ink")


def label_points(
    axes: Axes,
    points: Sequence[tuple[str, float, float]],
    lines: Sequence[tuple[str, float]],
    bars: Sequence[tuple[float, float, float]] = (),
) -> None:
    """Name each point beside its mark, where it hides no other mark, name or bar (x, low, high)."""
    to_pixels, from_pixels = axes.transData.transform, axes.transData.inverted().transform
    area = axes.get_window_extent()
    taken: list[tuple[float, float, float, float]] = []
    for name, y in lines:
        text = f"{short(name)} (not trained)"
        height = float(to_pixels((axes.get_xlim()[0], y))[1]) + 10
        taken.append((area.x0 + 4, height - 8, area.x0 + 4 + width(text), height + 8))
        _write(axes, area.x0 + 4, height, text, "muted")
    pixels = [tuple(float(value) for value in to_pixels((x, y))) for _, x, y in points]
    taken += [(x - 8, y - 8, x + 8, y + 8) for x, y in pixels]
    for x, low, high in bars:
        (left, bottom), (_, top) = to_pixels((x, low)), to_pixels((x, high))
        taken.append((float(left) - 3, float(bottom), float(left) + 3, float(top)))
    for (name, _, _), (x, y) in zip(points, pixels, strict=True):
        extent = width(short(name))
        places = [(x + 11, y), (x - 11 - extent, y), (x - extent / 2, y + 18), (x - extent / 2, y - 18)]
        for far in (16, 34, 52, 70):
            places += [
                (x + 8, y + far),
                (x + 8, y - far),
                (x - 8 - extent, y + far),
                (x - 8 - extent, y - far),
            ]
        boxes = [(left, middle - 8, left + extent, middle + 8) for left, middle in places]

        def overlap(box: tuple[float, float, float, float]) -> float:
            covered = sum(
                max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
                * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
                for other in taken
            )
            outside = max(0.0, area.x0 - box[0]) + max(0.0, box[2] - area.x1 - 16)
            outside += max(0.0, area.y0 - box[1]) + max(0.0, box[3] - area.y1 - 10)
            return covered + 50 * outside

        best = min(range(len(boxes)), key=lambda index: (overlap(boxes[index]), index))
        taken.append(boxes[best])
        left, middle = places[best]
        if abs(middle - y) > 20:
            end = from_pixels((left if left > x else left + extent, middle))
            axes.plot(*zip(from_pixels((x, y)), end, strict=True), color=SENTINELS["muted"], linewidth=0.7)
        _write(axes, left, middle, short(name), "ink")
