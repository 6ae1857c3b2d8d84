"""The report as Markdown: its words, its tables, and no markup that it did not mean."""

import dataclasses
import re

from amplitune.report.export import export
from amplitune.report.export.document import Document, Part, Table
from amplitune.report.export.markdown import escape, to_markdown
from amplitune.study.statistics.findings import Findings, findings
from amplitune.study.stored.results import Results


def tables(text: str) -> dict[str, list[list[str]]]:
    """Caption -> rows of cells, headers first, split as a reader of Markdown splits them."""
    found: dict[str, list[list[str]]] = {}
    caption = ""
    for line in text.splitlines():
        if line.startswith("**"):
            caption = line.strip("*")
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            found.setdefault(caption, []).append(cells)
    return found


def test_the_opening_the_tables_and_the_verdicts(rich: Results, rich_found: Findings) -> None:
    text = export(rich, rich_found, "markdown")
    assert text.startswith("<!-- amplitune report -->\n# A rich synthetic study\n")
    order = ["## What was found", "## What cannot be said", "## What was run", "## data-to-text (generation)"]
    order += ["## All tasks together", "## Notes on the statistics", "## Failed runs"]
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)
    assert "This task ranks nothing." in text
    found = tables(text)
    methods = found["Methods on data-to-text"]
    assert methods[0][:4] == ["Method", "Seeds", "Verdict", "ROUGE-L ↑"]
    lora = next(row for row in methods if row[0] == "lora")
    assert lora[:4] == ["lora", "5", "baseline", "0.634 (0.623–0.640)"]
    verdicts = found["Best settings on data-to-text: difference in ROUGE-L from lora"]
    full = next(row for row in verdicts if row[0] == "full")
    assert full[5] == "better"
    assert found["Failed runs"][2][0] == "sentiment/prefix/seed-2"


def test_every_row_of_a_table_has_as_many_cells(rich: Results, rich_found: Findings) -> None:
    found = tables(export(rich, rich_found, "markdown"))
    assert len(found) == 3 * 10 + 2
    for rows in found.values():
        assert len({len(row) for row in rows}) == 1
        assert len(rows) > 2


def test_hostile_names_stay_text() -> None:
    hostile = "a|b <script>*x*</script>\n# no heading"
    table = Table(hostile, ("h",), ((hostile,),), (False,))
    text = to_markdown(
        Document(hostile, "# not a heading", (Part("p", ("1. no list",), ("- x",), (table,)),))
    )
    assert "<script>" not in text
    assert "\\# not a heading" in text
    assert "1\\. no list" in text
    assert "- \\- x" in text
    assert text.count("a\\|b") == 3
    assert escape("x_y") == "x\\_y"


def test_a_study_without_runs_is_a_document(results: Results) -> None:
    empty = dataclasses.replace(results, table=results.table.iloc[:0])
    text = export(empty, findings(empty), "markdown")
    assert "No run has ended yet." in text
    assert "What was found" not in text
