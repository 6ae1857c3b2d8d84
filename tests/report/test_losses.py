"""Loss curves as inline SVG: what is drawn, and that several can stand on one page."""

import re
from importlib import resources
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitune.report.axes import Drawing
from amplitune.report.labels import spread_apart
from amplitune.report.losses import draw_losses
from amplitune.report.styles import Style, method_styles
from amplitune.study.stored.results import Results

STYLES = method_styles(["full", "lora", "qaa"])


def curves_of(results: Results, task: str = "data-to-text") -> pd.DataFrame:
    return results.curves[results.curves["task"] == task]


def losses(curves: pd.DataFrame, styles: dict[str, Style] = STYLES, identifier: str = "a") -> Drawing:
    return draw_losses(curves, styles, identifier)[0]


def test_validation_loss_is_drawn_if_every_method_has_it(results: Results) -> None:
    drawing = losses(curves_of(results))
    assert "Loss on the validation split" in drawing.caption
    assert "means over 2 seeds" in drawing.caption
    for method in STYLES:
        assert f">{method}</text>" in drawing.svg


def test_train_loss_is_drawn_otherwise_and_said_to_be_smoothed(results: Results) -> None:
    train = curves_of(results).query("split == 'train'")
    assert "as logged" in losses(train).caption
    longer = pd.concat([train.assign(step=train["step"] + 100 * part) for part in range(5)])
    assert "exponential moving average" in losses(longer).caption


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_not_drawn(results: Results, bad: float) -> None:
    curves = curves_of(results).copy()
    curves.loc[curves.index[3], "loss"] = bad
    svg = losses(curves).svg
    assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)


def test_no_curve_no_figure(results: Results) -> None:
    assert draw_losses(curves_of(results).iloc[:0], STYLES, "a") == ()


def test_a_loss_is_drawn_against_steps_tokens_and_seconds(results: Results) -> None:
    drawings = draw_losses(curves_of(results), STYLES, "a")
    assert [drawing.label for drawing in drawings] == ["Steps", "Tokens", "Seconds"]
    assert ">51.2 K</text>" in drawings[1].svg or ">50 K</text>" in drawings[1].svg
    assert "Time of training" in drawings[2].svg
    assert "times are means over seeds" in drawings[2].caption


def test_what_old_runs_have_not_logged_is_not_drawn(results: Results) -> None:
    curves = curves_of(results).assign(tokens=np.nan)
    assert [drawing.label for drawing in draw_losses(curves, STYLES, "a")] == ["Steps", "Seconds"]


def test_seeds_meet_at_steps_and_their_times_are_averaged(results: Results) -> None:
    curves = curves_of(results).query("split == 'validation' and method == 'qaa'")
    slower = curves.assign(seconds=curves["seconds"] * (1 + curves["seed"]))
    seconds = draw_losses(slower, {"qaa": STYLES["qaa"]}, "a")[2].svg
    alike = draw_losses(curves.assign(seconds=curves["seconds"] * 1.5), {"qaa": STYLES["qaa"]}, "a")[2].svg
    assert seconds == alike


def test_ids_are_prefixed_and_references_hold(results: Results) -> None:
    svg = losses(curves_of(results), identifier="task-1").svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) > 10
    assert len(ids) == len(set(ids))
    assert all(name.startswith("task-1-") for name in ids)
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert references
    assert references <= set(ids)


def test_colours_are_css_variables_that_the_page_defines(results: Results) -> None:
    svg = losses(curves_of(results)).svg
    variables = set(re.findall(r"var\(--([\w-]+)\)", svg))
    assert {"series-1", "series-2", "series-3", "ink", "muted", "line"} <= variables
    defined = set(
        re.findall(r"--([\w-]+):", resources.files("amplitune.report").joinpath("page.css").read_text())
    )
    assert variables <= defined
    assert not re.search(r"#[0-9a-f]{6}\b", svg)


def test_the_svg_is_well_formed_and_small_text_is_text(results: Results) -> None:
    svg = losses(curves_of(results)).svg
    root = ElementTree.fromstring(svg)
    assert root.findtext("title") == "Validation loss against optimizer steps"
    assert "font-family" not in svg
    assert "DejaVu" not in svg
    assert "http" not in svg


def test_a_name_with_markup_or_mathematics_is_drawn_as_it_is(results: Results) -> None:
    curves = curves_of(results).replace({"method": {"lora": "$x$<b>&"}})
    svg = losses(curves, method_styles(["full", "$x$<b>&", "qaa"])).svg
    assert ">$x$&lt;b&gt;&amp;</text>" in svg


def test_drawing_twice_gives_the_same_bytes(results: Results) -> None:
    assert losses(curves_of(results)) == losses(curves_of(results))


def test_sixteen_methods_differ_in_colour_or_in_marks() -> None:
    styles = method_styles([f"method-{index}" for index in range(16)]).values()
    assert len({(style.variable, style.marker, str(style.dash)) for style in styles}) == 16
    first = list(styles)[:8]
    assert len({style.marker for style in first}) == len({str(style.dash) for style in first}) == 8


@given(st.lists(st.floats(0, 200), min_size=1, max_size=10).map(sorted))
def test_names_do_not_overlap_and_stay_inside(wanted: list[float]) -> None:
    heights = spread_apart(wanted, 17, 0, 250)
    assert all(above - below >= 17 - 1e-9 for below, above in pairwise(heights))
    assert min(heights) >= -1e-9
    assert max(heights) <= 250 + 1e-9
