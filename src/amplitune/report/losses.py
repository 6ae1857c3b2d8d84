"""Loss curves against steps, tokens and seconds, with bands over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from amplitune.report.axes import Drawing, frame, freeze, title
from amplitune.report.labels import label_ends, short, width
from amplitune.report.styles import Style
from amplitune.report.svg import SETTINGS, inline_svg
from amplitune.report.units import count, duration

DRAWN = 150  # steps of a curve that are drawn at most
SMOOTHING = 20  # a train loss is averaged over this fraction of the logged points


@dataclass(frozen=True)
class _Abscissa:
    """What a loss is drawn against."""

    column: str
    label: str
    axis: str
    caption: str


ABSCISSAE = (
    _Abscissa("step", "Steps", "Optimizer steps", ""),
    _Abscissa("tokens", "Tokens", "Tokens trained on", "tokens are means over seeds"),
    _Abscissa("seconds", "Seconds", "Time of training", "times are means over seeds, without evaluation"),
)


def draw_losses(curves: pd.DataFrame, styles: Mapping[str, Style], identifier: str) -> tuple[Drawing, ...]:
    """Draw the loss of each method: the mean over seeds in a band from minimum to maximum.

    Args:
        curves: rows of one task's finished runs (columns method, seed, split, step, tokens, seconds, loss).
        styles: method -> how it is drawn; methods without a curve are left out.
        identifier: prefix of the SVGs' ids.

    Returns:
        A drawing against each of steps, tokens and seconds that the runs have logged: validation losses if
        every method with a curve has at least two, otherwise smoothed train losses; none if there is no loss.
    """
    curves = curves[np.isfinite(curves["loss"])]
    methods = [method for method in styles if (curves["method"] == method).any()]
    if not methods:
        return ()
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
    bands = {m: _band(curves[curves["method"] == m]) for m in methods if (curves["method"] == m).any()}
    most = int(curves.groupby("method")["seed"].nunique().max()) if bands else 0
    if most > 1:
        caption += f". Lines are means over {most} seeds, bands reach from the lowest to the highest seed"
    known = [
        x for x in ABSCISSAE if bands and all(np.isfinite(band[x.column]).all() for band in bands.values())
    ]
    return tuple(_draw(bands, styles, x, what, caption, f"{identifier}-{x.column}") for x in known)


def _draw(
    bands: Mapping[str, pd.DataFrame],
    styles: Mapping[str, Style],
    x: _Abscissa,
    what: str,
    caption: str,
    identifier: str,
) -> Drawing:
    with matplotlib.rc_context(SETTINGS):
        right = min(150.0, max(width(short(method)) for method in bands) + 22)
        figure, axes = frame(right, len(bands))
        ends = []
        for method, band in bands.items():
            style, at = styles[method], band[x.column]
            axes.plot(at, band["mean"], color=style.colour, linestyle=style.dash, linewidth=2)
            axes.fill_between(at, band["min"], band["max"], color=style.colour, alpha=0.16, linewidth=0)
            ends.append((method, float(at.iloc[-1]), float(band["mean"].iloc[-1])))
        title(axes, what)
        axes.set_xlabel(x.axis)
        _mark(axes, x)
        axes.margins(x=0.01)
        freeze(axes)
        label_ends(axes, ends, styles)
    words = "; ".join(part for part in (caption, x.caption) if part)
    axis = x.axis[0].lower() + x.axis[1:]
    return Drawing(inline_svg(figure, identifier, f"{what} against {axis}"), f"{words}.", x.label)


def _mark(axes: Axes, x: _Abscissa) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=x.column != "seconds"))
    if x.column == "tokens":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    elif x.column == "seconds":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value) if value else "0"))


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
    """Mean, minimum and maximum over seeds at the steps that all seeds have logged, and what these took."""
    grouped = curves.groupby("step")
    steps = grouped["loss"].agg(["mean", "min", "max", "count"])
    # A band needs all seeds at one place: seeds meet at steps, and what a step took is averaged.
    steps["tokens"] = grouped["tokens"].mean()
    steps["seconds"] = grouped["seconds"].mean()
    steps["step"] = steps.index
    complete = steps[steps["count"] == curves["seed"].nunique()]
    band = steps if complete.empty else complete
    chosen = sorted({round(i * (len(band) - 1) / (DRAWN - 1)) for i in range(DRAWN)})
    return band.iloc[chosen]
