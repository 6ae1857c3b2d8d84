"""The tables of methods on a terminal."""

import dataclasses
import io

from rich.console import Console

from amplitune.report.aggregate import Spread
from amplitune.report.columns import METRICS
from amplitune.report.tables import terminal_table, write_mean, write_range
from amplitune.study.statistics.findings import Findings, findings
from amplitune.study.stored.results import Results


def printed(results: Results, width: int = 80, found: Findings | None = None) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(terminal_table(results, found or findings(results)))
    return output.getvalue()


def line_of(text: str, start: str) -> str:
    return " ".join(next(line for line in text.splitlines() if line.startswith(start)).split())


def test_a_method_reads_as_its_numbers(results: Results) -> None:
    text = printed(results)
    assert line_of(text, "qaa") == "qaa 2 22.5 not tested 68 + 12.3 K 412 MB 30.9 ms"
    assert "(22.0–23.0)" in text
    assert line_of(text, "base") == "base 2 4.0 not tested 0 + 0 412 MB"


def test_nothing_is_cut_at_80_columns(results: Results) -> None:
    text = printed(results)
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_verdicts_stand_beside_the_numbers(rich: Results, rich_found: Findings) -> None:
    text = printed(rich, found=rich_found)
    assert line_of(text, "full ").startswith("full 5 0.750 better 0 + 1.32 M")
    assert line_of(text, "lora ").split()[3] == "baseline"
    assert line_of(text, "sora ").split()[3] == "cannot"
    assert "This task ranks nothing: Full fine-tuning is not better than bias" in " ".join(text.split())
    assert "Verdicts against lora; of a control, against its method." in " ".join(text.split())


def test_long_names_break_at_hyphens_within_80_columns(rich: Results, rich_found: Findings) -> None:
    text = printed(rich, found=rich_found)
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("qaa-no- "))
    assert lines[first + 1].startswith("entangler ")
    assert "…" not in text
    assert max(len(line.rstrip()) for line in lines) <= 80


def test_a_failed_run_stays_visible(results: Results) -> None:
    text = " ".join(printed(results).split())
    assert "failed: lora seed 1: OutOfMemoryError: synthetic failure" in text
    assert "runs/sentiment/lora/seed-1/log.txt" in text


def test_names_are_not_markup(results: Results) -> None:
    table = results.table.assign(method=results.table["method"].replace("lora", "[red]lora[/red]"))
    assert "[red]lora[/red]" in printed(dataclasses.replace(results, table=table), 120)


def test_a_study_without_runs_says_so(results: Results) -> None:
    assert "No run has ended yet." in printed(dataclasses.replace(results, table=results.table.iloc[:0]))


def test_a_cell_shows_its_own_n_where_seeds_miss() -> None:
    bleu = METRICS["bleu"]
    assert write_mean(bleu, Spread(30.0, 29.0, 31.0, 2), 3) == "30.0 (n = 2)"
    assert write_mean(bleu, None, 3) == ""


def test_a_range_is_left_out_where_all_seeds_read_the_same() -> None:
    assert write_range(METRICS["bleu"], Spread(30.0, 29.99, 30.01, 2)) == ""
    assert write_range(METRICS["mcc"], Spread(0.05, -0.1, 0.2, 2)) == "−0.100 to 0.200"
