"""Scores of the trials of tuning against their learning rates."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd

from amplitune.report.axes import Drawing, frame, freeze, logarithmic, title
from amplitune.report.columns import Column
from amplitune.report.labels import label_points
from amplitune.report.styles import Style
from amplitune.report.svg import SENTINELS, SETTINGS, inline_svg
from amplitune.report.words import counted, joined
from amplitune.study.stored.results import LOWER_IS_BETTER


def rate_text(value: float) -> str:
    """Write a learning rate.

    Example:
        >>> rate_text(0.001), rate_text(0.00025)
        ('1e-3', '2.5e-4')
    """
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(power)}"


def draw_trials(
    trials: pd.DataFrame, metric: Column, styles: Mapping[str, Style], identifier: str
) -> Drawing | None:
    """Draw every trial's score on validation against its learning rate, the chosen ones large.

    Args:
        trials: the trials of one task.
        metric: the task's primary metric, which the score is.
        styles: method -> how it is drawn.
        identifier: prefix of the SVG's ids.

    Returns:
        The figure; None if no trial has both a score and a learning rate.
    """
    known = trials[np.isfinite(trials["score"]) & (trials["learning_rate"] > 0)]
    methods = [method for method in styles if (known["method"] == method).any()]
    if not methods:
        return None
    with matplotlib.rc_context(SETTINGS):
        figure, axes = frame(20.0)
        logarithmic(axes, list(known["learning_rate"]), rate_text)
        chosen = []
        for method in methods:
            style, own = styles[method], known[known["method"] == method].sort_values("learning_rate")
            grouped = own.groupby("learning_rate")["score"]
            best = grouped.min() if metric.key in LOWER_IS_BETTER else grouped.max()
            axes.plot(best.index, best, color=style.colour, linestyle=style.dash, linewidth=1, alpha=0.6)
            axes.plot(
                own["learning_rate"], own["score"], style.marker, color=style.colour, markersize=5, alpha=0.6
            )
            for row in own[own["chosen"].astype(bool)].to_dict("records"):
                chosen.append((method, float(row["learning_rate"]), float(row["score"])))
                axes.plot(
                    *chosen[-1][1:], style.marker, color=style.colour, markersize=11, markeredgewidth=1.5
                )
                axes.lines[-1].set_markeredgecolor(SENTINELS["surface"])
        axes.margins(y=0.16)
        title(axes, f"{metric.label} on validation")
        axes.set_xlabel("Learning rate, logarithmic")
        freeze(axes)
        label_points(axes, chosen, [])
    caption = (
        f"{metric.label} on the validation split of every trial against its learning rate; the chosen trial "
    )
    caption += "of each method is large and named, a line joins its best scores"
    if lost := len(trials) - len(known):
        verb = "is" if lost == 1 else "are"
        caption += f"; {counted(lost, 'trial')} without a score or a learning rate {verb} not drawn"
    at_edge = trials[trials["chosen"].astype(bool) & (trials["edge"] != "")]
    names = joined(f"{row['method']} ({row['edge']})" for row in at_edge.to_dict("records"))
    caption += f". At the edge of the search space: {names}" if names else ""
    return Drawing(
        inline_svg(figure, identifier, f"{metric.label} on validation against learning rate"), f"{caption}."
    )
