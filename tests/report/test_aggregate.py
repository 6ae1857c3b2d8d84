"""Measurements aggregated over seeds, computed by hand from the synthetic study."""

import dataclasses

import pytest

from amplitune.report.aggregate import MethodRow, Spread, task_tables, with_convergence
from amplitune.study.stored.results import Results


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


def test_runs_that_are_not_there_yet_are_named(results: Results) -> None:
    table = results.table[~((results.table["method"] == "qaa") & (results.table["seed"] == 1))]
    generation = task_tables(dataclasses.replace(results, table=table))[0]
    assert "Still running or not started: qaa seed 1." in generation.notes


def test_rows_made_elsewhere_are_named_with_what_differs(rich: Results) -> None:
    notes = {table.task: table.notes for table in task_tables(rich)}
    assert not any(
        "Made in another environment" in note for note in notes["data-to-text"] + notes["sentiment"]
    )
    (note,) = [note for note in notes["instructions"] if "Made in another environment" in note]
    assert note.startswith("Made in another environment: sora seeds 3 and 4, with amplitune commit 6de6fdd")
    assert note.endswith("-dirty instead of 6de6fdd0c0ff; torch 2.9.1 instead of 2.8.0.")


def test_convergence_is_joined_run_by_run(rich: Results) -> None:
    measured = with_convergence(rich)
    assert len(measured) == len(rich.table)
    full = measured[(measured["method"] == "full") & (measured["task"] == "instructions")]
    assert (full["steps_to_target"] < 100).all()
    assert measured[measured["method"] == "bias"]["steps_to_target"].isna().all()


def test_what_was_measured_decides_which_tables_there_are(rich: Results, results: Results) -> None:
    table = task_tables(rich)[0]
    assert [column.key for column in table.convergence][:3] == [
        "steps_to_target",
        "tokens_to_target",
        "seconds_to_target",
    ]
    assert [column.key for column in table.memory][-2:] == ["activations_bytes", "energy_joules"]
    assert {"cka", "held_out_perplexity"} < {column.key for column in table.learned}
    old = task_tables(results)[0]
    assert old.memory == old.learned == ()


def test_roles_stand_beside_the_methods(rich: Results) -> None:
    kinds = {row.method: row.role.kind for row in task_tables(rich)[0].rows}
    assert kinds["base"] == kinds["bias"] == kinds["full"] == "reference"
    assert kinds["qaa-givens"] == "control"
    assert kinds["qaa-matched"] == "matched"
    assert kinds["qaa"] == "method"
