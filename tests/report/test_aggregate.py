"""Measurements aggregated over seeds, computed by hand from the synthetic study."""

import dataclasses

import pandas as pd
import pytest

from amplitune.report.aggregate import MethodRow, Spread, seeds_note, task_tables
from amplitune.study.results import Results


def cell(row: MethodRow, key: str) -> Spread:
    spread = row.cells[key]
    assert spread is not None
    return spread


def test_every_task_and_method_has_its_row(results: Results) -> None:
    tables = task_tables(results)
    assert [table.task for table in tables] == ["data-to-text", "sentiment"]
    assert [[row.method for row in table.rows] for table in tables] == [["base", "full", "lora", "qaa"]] * 2


def test_means_and_ranges_are_those_of_the_seeds(results: Results) -> None:
    generation, classification = task_tables(results)
    qaa = next(row for row in generation.rows if row.method == "qaa")
    assert cell(qaa, "bleu") == Spread(mean=22.5, low=22.0, high=23.0, n=2)
    assert cell(qaa, "angles").mean == 68
    assert cell(qaa, "classical_parameters").mean == 12_356 - 68
    full = next(row for row in classification.rows if row.method == "full")
    assert cell(full, "accuracy").mean == pytest.approx(0.915)
    assert cell(full, "peak_memory_bytes").mean == 412_500_000


def test_the_primary_metric_is_the_first_column_and_unmeasured_metrics_are_none(results: Results) -> None:
    generation, classification = task_tables(results)
    assert generation.columns[0].key == "bleu"
    assert classification.columns[0].key == "accuracy"
    assert {column.key for column in generation.columns}.isdisjoint({"accuracy", "f1", "mcc", "bertscore_f1"})


def test_what_was_not_measured_has_no_cell(results: Results) -> None:
    generation, _ = task_tables(results)
    base, full = generation.rows[0], generation.rows[1]
    assert base.cells["adapter_bytes"] is None
    assert base.cells["step_seconds"] is None
    assert full.cells["generation_tokens_per_second"] is None


def test_a_failed_run_stays_with_its_reason_and_out_of_the_means(results: Results) -> None:
    _, classification = task_tables(results)
    lora = next(row for row in classification.rows if row.method == "lora")
    assert lora.seeds == (0,)
    assert lora.seeds_text == "1 of 2"
    (failed,) = lora.failed
    assert failed.reason.startswith("OutOfMemoryError")
    assert failed.log == "runs/sentiment/lora/seed-1/log.txt"
    assert cell(lora, "accuracy").n == 1


def test_a_method_that_only_failed_keeps_an_empty_row(results: Results) -> None:
    table = results.table.copy()
    table.loc[table["method"] == "qaa", ["status", "reason"]] = ["failed", "NaN loss"]
    only_failed = task_tables(dataclasses.replace(results, table=table))[0].rows[-1]
    assert only_failed.method == "qaa"
    assert only_failed.seeds == ()
    assert [run.reason for run in only_failed.failed] == ["NaN loss", "NaN loss"]
    assert set(only_failed.cells.values()) == {None}


def test_few_seeds_rank_nothing(results: Results) -> None:
    assert "With fewer than 5 seeds no method is ranked" in seeds_note(results)
    assert "task: 1." in seeds_note(results)
    many = pd.concat([results.table.assign(seed=seed, status="done") for seed in range(5)], ignore_index=True)
    assert "No statistical test" in seeds_note(dataclasses.replace(results, table=many))


def test_runs_that_are_not_there_yet_are_named(results: Results) -> None:
    table = results.table[~((results.table["method"] == "qaa") & (results.table["seed"] == 1))]
    generation = task_tables(dataclasses.replace(results, table=table))[0]
    assert "Still running or not started: qaa seed 1." in generation.notes


def test_rows_from_several_environments_are_marked(results: Results) -> None:
    table = results.table.copy()
    assert not any("environments" in note for note in task_tables(results)[0].notes)
    table.loc[0, "environment"] = "other"
    notes = task_tables(dataclasses.replace(results, table=table))[0].notes
    assert any(note.startswith("These rows come from 2 environments") for note in notes)
