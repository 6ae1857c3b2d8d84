"""The plan of a study: counts that follow from its files, parameters by formula, totals."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import HIDDEN, LAYERS, study_values, task_values

from amplitune.study.planning import plan as planning
from amplitune.study.planning.memory_prediction import MemoryPrediction
from amplitune.study.planning.plan import MethodPlan, StudyPlan, plan_study
from amplitune.study.planning.plan_table import notes, plan_tables
from amplitune.study.planning.time_probe import RunTime
from amplitune.study.running.memory_tracking import MemorySplit
from amplitune.study.settings.config import StudyConfig


def planned(values: dict[str, Any], probe: bool = False) -> StudyPlan:
    return plan_study(StudyConfig.parse(values), lambda _: None, probe)


@pytest.fixture(scope="module")
def plan(tiny: Path) -> StudyPlan:
    tasks = [task_values(tiny), task_values(tiny, "texts", model_name_or_path=str(tiny / "bert"))]
    methods = ["base", "full", "lora", "qaa", "adamss"]
    tuning = {"trials": 3, "max_steps": 2}
    return planned(study_values(tiny, tasks=tasks, methods=methods, seeds=[0, 1], tuning=tuning))


def test_the_grid_is_counted(plan: StudyPlan) -> None:
    assert [(row.task, row.method) for row in plan.methods] == [
        (task, method) for task in ("pairs", "texts") for method in ("base", "full", "lora", "qaa", "adamss")
    ]
    assert plan.runs == 2 * 5 * 2
    assert {row.method: row.trials for row in plan.methods} == {
        "base": 0, "full": 3, "lora": 3, "qaa": 3, "adamss": 3
    }  # fmt: skip
    assert plan.trials == 2 * 4 * 3


def test_the_data_is_counted(plan: StudyPlan) -> None:
    pairs, texts = plan.tasks
    assert [(name, split.examples) for name, split in pairs.splits.items()] == [
        ("train", 16), ("validation", 4), ("test", 4)
    ]  # fmt: skip
    assert (pairs.kind, texts.kind) == ("generation", "classification")
    for task in plan.tasks:
        for split in task.splits.values():
            assert split.longest <= split.tokens <= split.examples * split.longest


def test_parameters_are_those_of_the_formulas(plan: StudyPlan) -> None:
    """LoRA of rank 8 and QAA on q_proj (24 to 24) and v_proj (24 to 12, two of four heads)."""
    rows = {row.method: row for row in plan.methods if row.task == "pairs"}
    out = HIDDEN + HIDDEN // 2
    assert rows["lora"].trainable_parameters == LAYERS * 8 * (2 * HIDDEN + out)
    qubits = 5
    assert rows["qaa"].angles == LAYERS * 2 * qubits
    assert rows["qaa"].classical_parameters == LAYERS * (qubits * out + out)
    assert rows["base"].trainable_parameters == 0
    assert rows["full"].angles == 0
    assert rows["adamss"].trainable_parameters is None
    assert "adamss cannot run without weights" in rows["adamss"].note


def test_memory_and_disk(plan: StudyPlan) -> None:
    rows = {row.method: row for row in plan.methods if row.task == "pairs"}
    base, full, lora = (rows[name].memory.peak for name in ("base", "full", "lora"))
    assert base is not None
    assert full is not None
    assert lora is not None
    assert base < lora < full
    assert rows["base"].memory.training is None
    predictions = rows["base"].disk_bytes
    assert predictions is not None
    assert rows["lora"].trainable_parameters is not None
    assert rows["lora"].disk_bytes == 2 * 4 * rows["lora"].trainable_parameters + predictions
    # What the weights of one run and a shape know nothing about has no number, and neither has the sum.
    assert rows["adamss"].disk_bytes is None
    assert plan.disk_bytes is None
    assert plan.seconds is None


def test_adapters_that_are_not_kept_take_no_disk(tiny: Path) -> None:
    kept, left = (
        planned(study_values(tiny, methods=["base", "lora"], save_adapters=save)).methods
        for save in (True, False)
    )
    assert left[0].disk_bytes == left[1].disk_bytes == kept[0].disk_bytes
    assert kept[1].disk_bytes is not None
    assert left[1].disk_bytes is not None
    assert kept[1].disk_bytes > left[1].disk_bytes


def test_the_plan_as_data_is_json(plan: StudyPlan) -> None:
    data = json.loads(json.dumps(plan.data()))
    assert data["runs"] == 20
    assert len(data["methods"]) == 10
    assert data["methods"][0]["memory"]["peak"] == plan.methods[0].memory.peak
    assert data["tasks"][0]["splits"]["train"]["examples"] == 16
    assert data["seconds"] is None


def test_the_tables_show_it(plan: StudyPlan) -> None:
    tables = [part for part in plan_tables(plan) if not isinstance(part, str)]
    lines = notes(plan)
    assert [table.row_count for table in tables] == [3, 5, 3, 5]
    assert lines[0].startswith("20 runs after 24 trials of tuning, 1 at a time: time not probed")
    assert sum("adamss" in line for line in lines) == 2


def test_a_probed_study_has_times(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amplitune.study.planning.time_probe._process_seconds", lambda: 5.0)
    values = study_values(tiny, methods=["base", "lora"], seeds=[0, 1], workers=2, tuning={"trials": 2})
    values["training"] |= {"max_steps": 10, "eval_steps": 4}
    plan = planned(values, probe=True)
    base, lora = plan.methods
    assert base.time is not None
    assert lora.time is not None
    assert base.seconds is not None
    assert lora.seconds is not None
    assert base.time.step == base.time.loss == base.time.tuning == 0
    assert min(lora.time.step, lora.time.loss, lora.time.test, lora.time.tuning) > 0
    once = lora.time.start + 10 * lora.time.step + 3 * lora.time.loss
    assert lora.seconds == pytest.approx(2 * (once + lora.time.test) + 2 * (once + lora.time.tuning))
    assert base.seconds == pytest.approx(2 * (base.time.start + base.time.test))
    assert plan.seconds == pytest.approx((base.seconds + lora.seconds) / 2)
    assert "about" in notes(plan)[0]


def test_a_run_that_does_not_fit_is_not_timed(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "available_memory", lambda: 1000)
    monkeypatch.setattr(planning, "probe_time", lambda *_: pytest.fail("it was timed"))
    plan = planned(study_values(tiny, methods=["lora"], workers=2), probe=True)
    assert "not timed: it needs" in plan.methods[0].note
    assert any("Lower workers" in line for line in notes(plan))


def row(peak: int, runs: int = 1) -> MethodPlan:
    memory = MemoryPrediction(None, MemorySplit(peak, 0, 0, 0, peak))
    time = RunTime(1.0, 0.0, 0.0, 0.0, 0.0)
    return MethodPlan("t", "m", runs, 0, 0, 0, 0, memory, 5, time, 6.0 * runs, "")


def test_totals() -> None:
    plan = StudyPlan("s", (), (row(10, 1), row(30, 2), row(20, 3)), 3, 100)
    assert (plan.runs, plan.disk_bytes, plan.peak_bytes) == (6, 15, 30 + 30 + 20)
    assert plan.seconds == pytest.approx(6.0 * 6 / 3)
    # Workers without work do not help.
    assert dataclasses.replace(plan, workers=60).seconds == pytest.approx(6.0)
    unknown = dataclasses.replace(row(1), memory=MemoryPrediction(None, None, "why"))
    assert dataclasses.replace(plan, methods=(*plan.methods, unknown)).peak_bytes is None
