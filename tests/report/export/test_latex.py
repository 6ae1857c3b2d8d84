"""The report as LaTeX: balanced, escaped, rows as wide as their table."""

import re

import pytest

from amplitune.report.export import export
from amplitune.report.export.latex import escape
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results


@pytest.fixture(scope="module")
def text(rich: Results, rich_found: Findings) -> str:
    return export(rich, rich_found, "latex")


def test_groups_and_environments_are_balanced(text: str) -> None:
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    for environment in ("table", "tabular", "itemize"):
        begun = text.count(rf"\begin{{{environment}}}")
        assert begun == text.count(rf"\end{{{environment}}}")
        assert begun > 1


def test_every_row_has_the_columns_of_its_table(text: str) -> None:
    found = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(found) == 3 * 10 + 2
    rows = 0
    for columns, body in found:
        for row in re.findall(r"^ +(.*) \\\\$", body, re.MULTILINE):
            rows += 1
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1
    assert rows > 200


def test_nothing_is_left_that_latex_would_run_or_cannot_set(text: str) -> None:
    body = re.sub(r"^%.*$|\{%$", "", text, flags=re.MULTILINE)
    assert not re.search(r"(?<!\\)[%#_^~]", body)
    assert body.isascii()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("50 % & more", r"50 \% \& more"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("$x_1^2$ #~", r"\$x\_1\textasciicircum{}2\$ \#\textasciitilde{}"),
        ("a\n\nb", "a b"),
        ("−1–2 µs ↓", r"$-$1--2 $\mu$s $\downarrow$"),
    ],
)
def test_what_latex_reads_as_commands_is_escaped(given: str, expected: str) -> None:
    assert escape(given) == expected
