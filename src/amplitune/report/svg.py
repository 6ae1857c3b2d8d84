"""Inline SVG from a matplotlib figure: deterministic, themed by CSS variables, its ids its own."""

import io
import re
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

SERIES = 8
# Colours that nothing else draws with; in the SVG each is replaced by the CSS variable of its key.
SENTINELS = {f"series-{index + 1}": f"#0102{index + 1:02x}" for index in range(SERIES)} | {
    "ink": "#0103a1",
    "muted": "#0103a2",
    "line": "#0103a3",
    "surface": "#0103a4",
}
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.id": None,
    "text.parse_math": False,  # a method may be called "$x$"
    "text.usetex": False,
    "path.simplify": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib: only its widths are used, the page's font is drawn
    "font.size": 13,
    "axes.edgecolor": SENTINELS["line"],
    "axes.facecolor": "none",
    "axes.labelcolor": SENTINELS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.0,
    "figure.facecolor": "none",
    "grid.color": SENTINELS["line"],
    "grid.linewidth": 0.8,
    "xtick.color": SENTINELS["line"],
    "ytick.color": SENTINELS["line"],
    "xtick.labelcolor": SENTINELS["muted"],
    "ytick.labelcolor": SENTINELS["muted"],
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
}


def inline_svg(figure: Figure, identifier: str, title: str) -> str:
    """Render a figure as an SVG element that can stand in an HTML page among others.

    Args:
        figure: drawn with the colours of `SENTINELS`, under `SETTINGS`; the viewBox is its size in points.
        identifier: letters, digits and "-", unique on the page; every id in the SVG begins with it.
        title: what the figure shows, for those who do not see it.

    Returns:
        The `<svg>` element: no declaration, no metadata, no fixed size, no address of a namespace.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": identifier}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', svg)
    assert view is not None
    svg = svg[svg.index(">") + 1 :]
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{identifier}-', svg)
    svg = re.sub(r'href="#', f'href="#{identifier}-', svg)
    svg = re.sub(r"url\(#", f"url(#{identifier}-", svg)
    # matplotlib names its font in one property or in two, by version; the page's own is to be drawn.
    svg = re.sub(r"font: (?:[a-z]+ )*([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    svg = re.sub(r"font-family: [^;\"]+;? ?", "", svg)
    # Coordinates only, which stand in tags: a rounded tick label would be a false number.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{3,}", _hundredths, tag[0]), svg)
    for name, colour in SENTINELS.items():
        svg = svg.replace(colour, f"var(--{name})")
    head = f'<svg class="figure" viewBox="{view[1]}" role="img" aria-labelledby="{identifier}-title">'
    return f'{head}<title id="{identifier}-title">{escape(title)}</title>{svg}'


def _hundredths(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"
