"""Figures of a comparison: loss curves with bands over seeds, quality against trainable parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from amplitune.report.aggregate import Column, MethodRow
from amplitune.report.labels import label_ends, label_points, short, width
from amplitune.report.styles import Style
from amplitune.report.svg import SENTINELS, SETTINGS, inline_svg
from amplitune.report.units import count

WIDTH, HEIGHT = 460, 330  # of the viewBox; text of 13 is still 9 px wide on a phone of 360 px
DRAWN = 150  # steps of a curve that are drawn at most
SMOOTHING = 20  # a train loss is averaged over this fraction of the logged points


@dataclass(frozen=True)
class Drawing:
    """A figure as inline SVG with its caption."""

    svg: str
    caption: str


def draw_losses(curves: pd.DataFrame, styles: Mapping[str, Style], identifier: str) -> Drawing | None:
    """Draw the loss of each method against steps: the mean over seeds in a band from minimum to maximum.

    Args:
        curves: rows of one task's finished runs (columns method, seed, split, step, loss).
        styles: method -> how it is drawn; methods without a curve are left out.
        identifier: prefix of the SVG's ids.

    Returns:
        Validation losses if every method with a curve has at least two, otherwise smoothed train losses; None
        if there is no loss to draw.
    """
    curves = curves[np.isfinite(curves["loss"])]
    methods = [method for method in styles if (curves["method"] == method).any()]
    if not methods:
        return None
    validation = curves[curves["split"] == "validation"]
    points = validation.groupby("method")["step"].nunique()
    if all(points.get(method, 0) >= 2 for method in methods):
        curves, what = validation, "Validation loss"
        caption = "Loss on the validation split during training"
    else:
        curves = curves[curves["split"] == "train"]
        what = "Train loss"
        caption = "Loss on the training batches (no validation loss to draw)"
        curves, smoothed = _smooth(curves)
        caption += ", an exponential moving average over the logged points" if smoothed else ", as logged"
    methods = [method for method in methods if (curves["method"] == method).any()]
    with matplotlib.rc_context(SETTINGS):
        right = min(130.0, max(width(short(method)) for method in methods) + 22)
        figure, axes = _axes(right)
        ends = []
        for method in methods:
            band = _band(curves[curves["method"] == method])
            style = styles[method]
            axes.plot(band.index, band["mean"], color=style.colour, linestyle=style.dash, linewidth=2)
            axes.fill_between(
                band.index, band["min"], band["max"], color=style.colour, alpha=0.16, linewidth=0
            )
            ends.append((method, float(band.index[-1]), float(band["mean"].iloc[-1])))
        axes.set_title(what, loc="left", fontsize=13, color=SENTINELS["muted"], pad=10)
        axes.set_xlabel("Optimizer steps")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.margins(x=0.01)
        _freeze(axes)
        label_ends(axes, ends, styles)
    most = int(curves.groupby("method")["seed"].nunique().max())
    caption += f". Lines are means over {most} seeds, bands reach from the lowest to the highest seed" * (
        most > 1
    )
    return Drawing(inline_svg(figure, identifier, f"{what} against optimizer steps"), caption + ".")


def draw_quality(
    rows: Sequence[MethodRow], metric: Column, styles: Mapping[str, Style], identifier: str
) -> Drawing | None:
    """Draw each method's quality against its trainable parameters; an untrained model is a horizontal line.

    Args:
        rows: the methods of one task, with the cells `metric.key` and "trainable_parameters".
        metric: the task's primary metric.
        styles: method -> how it is drawn.
        identifier: prefix of the SVG's ids.

    Returns:
        The figure, None if no method has both numbers.
    """
    points = []
    lines = []
    for row in rows:
        quality, parameters = row.cells.get(metric.key), row.cells.get("trainable_parameters")
        if quality is None or parameters is None:
            continue
        if parameters.mean == 0:
            lines.append((row.method, quality))
        else:
            points.append((row.method, parameters.mean, quality))
    if not points:
        return None
    with matplotlib.rc_context(SETTINGS):
        figure, axes = _axes(20.0)
        for method, x, quality in points:
            style = styles[method]
            axes.plot(
                [x, x], [quality.low, quality.high], color=style.colour, linewidth=2, solid_capstyle="butt"
            )
            axes.plot(x, quality.mean, style.marker, color=style.colour, markersize=11, markeredgewidth=1.5)
            axes.lines[-1].set_markeredgecolor(SENTINELS["surface"])
        for _, quality in lines:
            axes.axhline(quality.mean, color=SENTINELS["muted"], linewidth=1.5, linestyle=(0, (4, 3)))
        low, high = min(x for _, x, _ in points), max(x for _, x, _ in points)
        decades = range(math.floor(math.log10(low) - 0.1), math.ceil(math.log10(high) + 0.1) + 1)
        step = math.ceil(len(decades) / 6)
        axes.set_xscale("log")
        axes.set_xlim(10.0 ** decades[0], 10.0 ** decades[-1])
        multiples = (1, 2, 5) if len(decades) == 2 else (1,)
        axes.xaxis.set_major_locator(
            FixedLocator([m * 10.0**power for power in decades[::step] for m in multiples])
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _power(x)))
        axes.margins(y=0.16)
        axes.set_title(metric.label, loc="left", fontsize=13, color=SENTINELS["muted"], pad=10)
        axes.set_xlabel("Trainable parameters, logarithmic")
        _freeze(axes)
        label_points(axes, [(m, x, q.mean) for m, x, q in points], [(m, q.mean) for m, q in lines])
    caption = f"{metric.label} on the test split ({metric.meaning}) against trainable parameters"
    caption += "; marks are means, vertical lines reach from the lowest to the highest seed"
    names = " and ".join(method for method, _ in lines)
    caption += f"; {names}, which trains nothing, is the dashed line" if lines else ""
    return Drawing(
        inline_svg(figure, identifier, f"{metric.label} against trainable parameters"), caption + "."
    )


def _axes(right: float) -> tuple[Figure, Axes]:
    """A figure of the page's size with one axes; `right` is the margin for labels there, in points."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
    left, bottom, top = 46.0, 54.0, 34.0
    box = (left / WIDTH, bottom / HEIGHT, (WIDTH - left - right) / WIDTH, (HEIGHT - bottom - top) / HEIGHT)
    axes = figure.add_axes(box)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return figure, axes


def _freeze(axes: Axes) -> None:
    """Fix the limits: names are placed by them, and what is drawn to place a name must not move them."""
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())


def _power(value: float) -> str:
    """Write a mark of the logarithmic axis: 1, 10, 100, 1 K, 10 K."""
    return count(value).replace(",000", " K")


def _smooth(curves: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Average each run's train loss over a `SMOOTHING`-th of its points; short curves stay as they are."""
    parts = []
    smoothed = False
    for _, run in curves.groupby(["method", "seed"], sort=False):
        span = len(run) // SMOOTHING
        ordered = run.sort_values("step")
        if span > 1:
            smoothed = True
            ordered = ordered.assign(loss=ordered["loss"].ewm(span=span).mean())
        parts.append(ordered)
    return (pd.concat(parts) if parts else curves), smoothed


def _band(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean, minimum and maximum over seeds at the steps that all seeds have logged."""
    steps = curves.groupby("step")["loss"].agg(["mean", "min", "max", "count"])
    complete = steps[steps["count"] == curves["seed"].nunique()]
    band = steps if complete.empty else complete
    chosen = sorted({round(i * (len(band) - 1) / (DRAWN - 1)) for i in range(DRAWN)})
    return band.iloc[chosen]
