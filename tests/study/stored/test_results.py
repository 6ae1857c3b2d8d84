"""Results of a study read back from run folders that are whole, failed, in flight or damaged."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from amplitune.errors import ConfigError
from amplitune.study.stored.result_columns import (
    CURVE_COLUMNS,
    MODULE_COLUMNS,
    PREDICTION_COLUMNS,
    TABLE_COLUMNS,
)
from amplitune.study.stored.results import Results, load_results, write_results

TASKS = [
    {"name": "summary", "kind": "generation", "primary_metric": "perplexity"},
    {"name": "label", "kind": "classification", "primary_metric": "accuracy"},
]
EVENTS = [
    {"event": "train", "step": 5, "loss": 2.5, "tokens": 100, "seconds": 0.5},
    {"event": "eval", "step": 5, "eval_loss": 2.25, "tokens": 100, "seconds": 0.5},
    {"event": "train", "step": 10, "loss": 2.0, "tokens": 200, "seconds": 1.0},
    {"event": "test", "perplexity": 7.5, "bleu": 12.0, "bleu_signature": "nrefs:1", "examples": 3},
    {
        "event": "efficiency",
        "trainable_parameters": 132,
        "angles": 4,
        "adapter_bytes": None,
        "step_seconds": 0.1,
    },
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The folder of a study without runs."""
    content = {"name": "tiny", "tasks": TASKS, "methods": ["qaa", "lora"], "seeds": [0, 1]}
    (tmp_path / "study.resolved.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def add_run(study: Path, run: str, events: list[dict[str, Any]] | None = None, **status: Any) -> Path:
    """Write a run folder; `run` is task/method/seed-n."""
    folder = study / "runs" / run
    folder.mkdir(parents=True)
    lines = EVENTS if events is None else events
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in lines))
    (folder / "status.json").write_text(
        json.dumps({"status": "done", "reason": None, "seconds": 3.0} | status)
    )
    return folder


def only_row(results: Results) -> dict[str, Any]:
    """The only row of the table."""
    (row,) = results.table.to_dict("records")
    return {str(key): value for key, value in row.items()}


def test_a_run_becomes_a_row(study: Path) -> None:
    folder = add_run(study, "summary/qaa/seed-1")
    (folder / "command.txt").write_text("amplitune train study.yaml --method qaa --seed 1\n")
    (folder / "env.json").write_text('{"python": "3.11.0"}')
    results = load_results(study)
    row = only_row(results)
    assert list(row) == list(TABLE_COLUMNS)
    assert (row["task"], row["kind"], row["method"], row["seed"]) == ("summary", "generation", "qaa", 1)
    assert (row["status"], row["reason"], row["seconds"]) == ("done", None, 3.0)
    assert row["command"] == "amplitune train study.yaml --method qaa --seed 1"
    assert (row["primary_metric"], row["primary_value"], row["higher_is_better"]) == (
        "perplexity",
        7.5,
        False,
    )
    assert (row["bleu"], row["bleu_signature"]) == (12.0, "nrefs:1")
    assert (row["trainable_parameters"], row["angles"], row["step_seconds"]) == (132, 4, 0.1)
    assert results.environments == {row["environment"]: {"python": "3.11.0"}}


def test_what_is_missing_is_blank_and_never_a_sentinel(study: Path) -> None:
    folder = study / "runs/label/lora/seed-0"
    folder.mkdir(parents=True)
    (folder / "status.json").write_text('{"status": "done"}')
    row = only_row(load_results(study))
    known = {"task", "kind", "method", "seed", "status", "primary_metric", "higher_is_better"}
    missing = {key: value for key, value in row.items() if key not in known}
    assert len(missing) == len(TABLE_COLUMNS) - len(known)
    for key, value in missing.items():
        assert value is None or math.isnan(value), key


def test_a_task_is_what_the_run_resolved_it_to(study: Path) -> None:
    (study / "study.resolved.yaml").write_text(yaml.safe_dump({"tasks": [{"name": "summary", "kind": None}]}))
    folder = add_run(study, "summary/qaa/seed-0")
    spec = {"task": {"name": "summary", "kind": "generation", "primary_metric": "bleu"}, "seed": 0}
    (folder / "run.resolved.yaml").write_text(yaml.safe_dump(spec))
    row = only_row(load_results(study))
    assert (row["kind"], row["primary_metric"], row["primary_value"]) == ("generation", "bleu", 12.0)
    assert row["higher_is_better"]


def test_a_failed_run_is_a_row_with_its_reason_and_what_it_measured(study: Path) -> None:
    add_run(
        study, "summary/qaa/seed-0", EVENTS[:3], status="failed", reason="ValueError: NaN loss at step 11"
    )
    results = load_results(study)
    row = only_row(results)
    assert (row["status"], row["reason"]) == ("failed", "ValueError: NaN loss at step 11")
    assert math.isnan(row["perplexity"])
    assert len(results.curves) == 3


def test_runs_in_flight_and_set_aside_are_left_out(study: Path) -> None:
    add_run(study, "summary/qaa/seed-0")
    (add_run(study, "summary/qaa/seed-1") / "status.json").unlink()
    add_run(study, "summary/lora/seed-0", status="running")
    add_run(study, "summary/lora/seed-1.partial")
    add_run(study, "label/lora/seed-1.failed-1")
    assert list(load_results(study).table["method"]) == ["qaa"]


def test_a_damaged_status_is_a_failed_row(study: Path) -> None:
    (add_run(study, "summary/qaa/seed-0") / "status.json").write_text('{"status": "do')
    row = only_row(load_results(study))
    assert (row["status"], row["reason"]) == ("failed", "status.json is not JSON")


def test_half_written_lines_are_skipped(study: Path) -> None:
    folder = add_run(study, "summary/qaa/seed-0")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('\n[1]\n{"event": "train", "step": 15, "lo')
    (folder / "env.json").write_text("{")
    results = load_results(study)
    assert len(results.curves) == 3
    assert only_row(results)["perplexity"] == 7.5
    assert results.environments == {}


def test_rows_stand_in_the_order_of_the_study(study: Path) -> None:
    for run in ("label/qaa/seed-10", "label/qaa/seed-2", "summary/lora/seed-0", "summary/zzz/seed-0"):
        add_run(study, run)
    for run in ("summary/base/seed-0", "summary/qaa/seed-0", "gone/qaa/seed-0"):
        add_run(study, run)
    table = load_results(study).table
    assert [f"{row.task}/{row.method}/{row.seed}" for row in table.itertuples()] == [
        "summary/base/0",
        "summary/qaa/0",
        "summary/lora/0",
        "summary/zzz/0",
        "label/qaa/2",
        "label/qaa/10",
        "gone/qaa/0",
    ]


def test_curves_hold_both_losses_and_the_later_of_two_lines(study: Path) -> None:
    again = {"event": "train", "step": 10, "loss": 1.875, "tokens": 200, "seconds": 1.5}
    add_run(study, "summary/qaa/seed-0", [*EVENTS, again, {"event": "train", "step": 11}])
    curves = load_results(study).curves
    assert list(curves.columns) == list(CURVE_COLUMNS)
    points = {
        (str(row["split"]), float(row["step"])): float(row["loss"]) for row in curves.to_dict("records")
    }
    assert points == {("train", 5): 2.5, ("validation", 5): 2.25, ("train", 10): 1.875}


def test_predictions_of_both_kinds_have_one_form(study: Path) -> None:
    generation = {"id": 0, "prompt": "a\u2028b", "prediction": "x", "references": ["y", "z"]}
    generation["sums"] = {"rougeL": [0.5]}
    classification = {"id": 7, "text": "t", "label": "good", "prediction": "bad", "scores": [0.1, 0.9]}
    for run, line in (("summary/qaa/seed-0", generation), ("label/qaa/seed-0", classification)):
        (add_run(study, run) / "predictions.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n")
    predictions = load_results(study).predictions
    assert list(predictions.columns) == list(PREDICTION_COLUMNS)
    assert [list(row)[3:] for row in predictions.itertuples(index=False)] == [
        [0, "a\u2028b", "x", ["y", "z"], {"rougeL": [0.5]}],
        [7, "t", "bad", ["good"], {}],
    ]


def test_modules_keep_what_their_records_have(study: Path) -> None:
    record = {"module": "layers.0.q_proj", "effective_rank": 3.5, "cka": 0.9, "entangling": 0.4}
    (add_run(study, "summary/qaa/seed-0") / "modules.jsonl").write_text(json.dumps(record) + "\n")
    add_run(study, "summary/lora/seed-0")
    modules = load_results(study).modules
    assert list(modules.columns) == [*MODULE_COLUMNS, "entangling"]
    (row,) = modules.to_dict("records")
    assert (row["method"], row["module"], row["effective_rank"]) == ("qaa", "layers.0.q_proj", 3.5)
    assert row["entangling"] == 0.4
    assert math.isnan(row["stable_rank"])


def test_equal_environments_are_kept_once(study: Path) -> None:
    for seed, python in enumerate(("3.11", "3.12", "3.11")):
        folder = add_run(study, f"summary/qaa/seed-{seed}")
        (folder / "env.json").write_text(json.dumps({"python": python}))
    results = load_results(study)
    assert len(results.environments) == 2
    assert list(results.table["environment"].map(lambda key: results.environments[key]["python"])) == [
        "3.11",
        "3.12",
        "3.11",
    ]


def test_a_study_without_runs_is_empty_frames(study: Path) -> None:
    results = load_results(study)
    assert results.study["name"] == "tiny"
    assert [len(frame) for frame in (results.table, results.curves, results.predictions)] == [0, 0, 0]
    assert list(results.table.columns) == list(TABLE_COLUMNS)


@pytest.mark.parametrize("content", [None, "- a list", "{broken: ["])
def test_a_folder_that_is_no_study_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "study.resolved.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"amplitune compare STUDY\.yaml -o DIR"):
        load_results(tmp_path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        load_results(tmp_path / "nowhere")


def test_the_table_survives_parquet(study: Path) -> None:
    add_run(study, "summary/qaa/seed-0")
    add_run(study, "label/lora/seed-1", [], status="failed", reason="killed")
    results = load_results(study)
    path = write_results(results, study)
    assert path == study / "results.parquet"
    stored = pd.read_parquet(path)
    assert list(stored.columns) == list(TABLE_COLUMNS)
    pd.testing.assert_frame_equal(
        stored.astype("object").where(stored.notna(), None),
        results.table.astype("object").where(results.table.notna(), None),
        check_dtype=False,
    )
    assert not list(study.glob("*.partial-*"))


def test_a_failed_write_leaves_the_old_file(study: Path) -> None:
    (study / "results.parquet").write_text("old")
    add_run(study, "summary/qaa/seed-0")
    results = load_results(study)
    results.table["broken"] = pd.Series([object()], dtype="object")
    with pytest.raises(Exception, match="object"):
        write_results(results, study)
    assert (study / "results.parquet").read_text() == "old"
    assert not list(study.glob("*.partial-*"))
