"""Quality against cost: the front against brute force, what is drawn and how."""

import dataclasses
import itertools
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from amplitune.report.aggregate import TaskTable, task_tables
from amplitune.report.axes import Drawing
from amplitune.report.pareto import Point, draw_fronts, front
from amplitune.report.roles import roles_of
from amplitune.report.styles import method_styles
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results


def drawn(results: Results, table: TaskTable, found: Findings | None = None) -> tuple[Drawing, ...]:
    methods = [row.method for row in table.rows]
    styles = method_styles(methods, roles_of(results.study, methods))
    estimates = [e for e in found.estimates if e.task == table.task] if found else []
    return draw_fronts(table.rows, table.columns[0], estimates, styles, "q")


def test_a_mark_per_trained_method_and_a_line_for_the_base(results: Results) -> None:
    parameters, memory = drawn(results, task_tables(results)[0])
    assert (parameters.label, memory.label) == ("Parameters", "Memory")
    for drawing in (parameters, memory):
        assert "base (not trained)" in drawing.svg
        assert "base, which trains nothing, is the dashed line" in drawing.caption
        for method in ("full", "lora", "qaa"):
            assert f">{method}</text>" in drawing.svg


def test_no_trained_method_no_figure(results: Results) -> None:
    table = task_tables(results)[0]
    assert drawn(results, dataclasses.replace(table, rows=table.rows[:1])) == ()


def test_references_and_controls_are_hollow_and_matched_variants_absent(
    rich: Results, rich_found: Findings
) -> None:
    drawings = drawn(rich, task_tables(rich)[0], rich_found)
    assert [drawing.label for drawing in drawings] == ["Parameters", "Memory", "Time"]
    for drawing in drawings:
        assert "-matched" not in drawing.svg
        assert ">qaa-givens</text>" in drawing.svg
        assert "hollow marks are references and controls" in drawing.caption
        assert "vertical lines their 95 % intervals" in drawing.caption


def test_the_caption_names_the_front(rich: Results, rich_found: Findings) -> None:
    parameters = drawn(rich, task_tables(rich)[0], rich_found)[0]
    named = re.search(r"beaten by no method in both: ([^;]+);", parameters.caption)
    assert named is not None
    names = set(re.split(r", | and ", named[1]))
    assert {"bias", "full"} < names
    assert "prefix" not in names


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=9),
    st.booleans(),
)
def test_the_front_is_that_of_brute_force(values: list[tuple[int, int]], lower: bool) -> None:
    points = [Point(str(i), cost, quality, None, None) for i, (cost, quality) in enumerate(values)]
    beaten = set()
    for one, other in itertools.permutations(points, 2):
        gains = (one.cost - other.cost, (other.quality - one.quality) * (-1 if lower else 1))
        if min(gains) >= 0 and max(gains) > 0:
            beaten.add(one.method)
    assert front(points, lower) == {point.method for point in points} - beaten


def test_tick_labels_keep_the_digits_that_tell_them_apart(results: Results) -> None:
    table = results.table.copy()
    column = task_tables(results)[0].columns[0].key
    table[column] = 0.0780 + 0.0002 * np.arange(len(table))
    changed = dataclasses.replace(results, table=table)
    svg = drawn(changed, task_tables(changed)[0])[0].svg
    labels = re.findall(r">(0\.0\d+)<", svg)
    assert len(labels) >= 3
    assert len(set(labels)) == len(labels)
