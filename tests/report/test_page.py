"""The report as a file: whole, self-contained, escaped and the same every time."""

import base64
import dataclasses
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from amplitune.report import build_report
from amplitune.report.page import render_page
from amplitune.report.setting import what_was_run
from amplitune.study.statistics.findings import Findings, findings
from amplitune.study.stored.results import Results, load_results

HOSTILE = "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; &lt;b&gt;bold&lt;/b&gt;"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Counts elements, collects what a page could load, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.loads.append(value or "")
            elif name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(results: Results, found: Findings) -> str:
    return render_page(results, found)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    return parsed


def rendered(results: Results) -> str:
    return render_page(results, findings(results))


def cells(page: str, method: str) -> list[str]:
    """The text of the cells in a method's first row of the first table."""
    row = re.search(rf'<th scope="row">[^\n]*?</span>{method}</th>(.*?)</tr>', page, re.DOTALL)
    assert row is not None
    return [re.sub("<span.*?</span>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row[1])]


def test_the_page_is_well_formed_and_loads_nothing(page: str, outline: Outline) -> None:
    assert outline.open == []
    assert outline.tags.count("h1") == 1
    assert len(outline.loads) > 5
    assert all(address.startswith("#") or address == "data:," for address in outline.loads)
    assert not re.search(r"https?://|@import|url\((?!#)|<script[^>]", page)
    assert "default-src 'none'" in page


def test_ids_are_unique_and_links_lead_somewhere(outline: Outline) -> None:
    assert len(outline.ids) == len(set(outline.ids))
    assert {address[1:] for address in outline.loads if address.startswith("#")} <= set(outline.ids)


def test_only_the_script_of_the_package_may_run(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script == resources.files("amplitune.report").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page
    assert not re.search(r"\son\w+=", page)


def test_loss_against_three_things_and_quality_against_two_for_each_task(outline: Outline) -> None:
    assert outline.tags.count("svg") == outline.tags.count("figure") == 10
    assert outline.tags.count("input") == 10


def test_the_table_has_the_numbers_and_blanks(page: str) -> None:
    numbers = ["2", "22.5", "0.367", "0.244", "0.338", "2.67"]
    assert cells(page, "qaa") == [*numbers, "12.4 K", "68", "12.3 K", "51 KB", "412 MB", "30.9 ms", "808"]
    base = cells(page, "base")
    assert base[9] == ""
    assert base[11] == ""
    assert not re.search(r"\b(nan|None|inf)\b", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))


def test_what_a_model_generates_is_shown_and_never_run(page: str) -> None:
    assert page.count(HOSTILE) == 4
    assert "<b>bold</b>" not in page


def test_failed_runs_and_commands_are_listed(page: str) -> None:
    assert page.count("OutOfMemoryError: synthetic failure") == 3
    assert "runs/sentiment/lora/seed-1/log.txt" in page
    assert page.count("<code>amplitune train study.yaml --task") == 16


def test_the_page_says_what_it_does_not_claim(page: str) -> None:
    assert "simulated classically" in page
    assert "no quantum speed is claimed" in page
    assert "Nothing is tested: a verdict takes 5 seeds" in page
    assert "a demonstration, no evidence." in page


def test_the_opening_says_what_was_run(results: Results) -> None:
    assert what_was_run(results) == (
        "This study fine-tunes zoo:llama with 3 methods: full, lora and qaa. "
        "The 2 tasks are data-to-text (generation) and sentiment (classification). "
        "Each method is trained once from each of 2 seeds (0 and 1). "
        "The method named base is the untouched model: evaluated, never trained. "
        "15 runs finished and 1 failed."
    )


def test_the_same_results_give_the_same_bytes(study_folder: Path, tmp_path: Path) -> None:
    build_report(load_results(study_folder), tmp_path / "a.html")
    build_report(load_results(study_folder), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_failure_leaves_the_old_report(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = dataclasses.replace(results, curves=results.curves.drop(columns="loss"))
    with pytest.raises(KeyError):
        build_report(broken, path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("keep", ["nothing", "failed", "base"])
def test_an_unfinished_study_has_a_report(results: Results, keep: str, tmp_path: Path) -> None:
    table = results.table
    kept = {
        "nothing": table.iloc[:0],
        "failed": table[table["status"] == "failed"],
        "base": table[table["method"] == "base"],
    }[keep]
    build_report(dataclasses.replace(results, table=kept), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ("No run has ended yet." in page) == (keep == "nothing")
    assert page.count("<svg") == 0


def test_a_study_with_little_in_its_configuration_has_a_report(results: Results) -> None:
    page = rendered(dataclasses.replace(results, study={}, environments={}))
    assert "<h1>Study</h1>" in page
    assert "This study fine-tunes a model with 3 methods" in page


def test_hostile_names_are_escaped(results: Results) -> None:
    study = results.study | {"name": "<img src=x>", "description": "<b>"}
    reason = results.table["reason"].dropna().iloc[0]
    table = results.table.replace({"method": {"lora": '"><i>'}, "reason": {reason: "<u>"}})
    page = rendered(dataclasses.replace(results, study=study, table=table))
    assert not re.search(r"<img|<i>|<u>", page)
    assert "&lt;img src=x&gt;" in page


def test_a_rich_study_has_all_its_parts(rich: Results, rich_found: Findings) -> None:
    page = render_page(rich, rich_found)
    for part in ("What was found", "What cannot be said", "Controls of qaa", "Tuning", "Convergence"):
        assert part in page
    for part in ("Memory and energy", "What training changed", "All tasks together", "198 trials of tuning"):
        assert part in page
    assert page.count('<p class="warning">This task ranks nothing.') == 1
    assert page.count("at the edge: learning_rate") == 1
    assert "Each module: 56 rows" in page
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {address[1:] for address in parsed.loads if address.startswith("#")} <= set(parsed.ids)


def test_rows_made_elsewhere_are_marked_where_they_stand(rich: Results, rich_found: Findings) -> None:
    page = render_page(rich, rich_found)
    assert page.count('<tr class="odd">') == 2
    assert page.count(">differs</b>") == 2
    assert "2 rows were made here, with amplitune commit" in page
    assert "instructions/sora/seed-3, instructions/sora/seed-4" in page
    assert page.count('<abbr title="rows made in different environments">') == 1
    assert "The code had changes that no commit holds." in page


def test_importing_the_report_loads_no_trainer_and_no_data_library() -> None:
    code = (
        "import sys, amplitune.report; wrong = ('trl', 'datasets', 'amplitune.study.running', "
        "'amplitune.study.data.tokens', 'amplitune.study.data.sources'); "
        "print([name for name in sys.modules if name.startswith(wrong)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_report_reads_no_model(results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the report touched a model")

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    monkeypatch.setattr("torch.nn.Module.__init__", refuse)
    build_report(results, tmp_path / "report.html")
    assert (tmp_path / "report.html").is_file()
