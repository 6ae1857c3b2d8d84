"""What the runs of a task measured, as read from results."""

import numpy as np
import pandas as pd
import pytest
from tests.study.statistics.planted import Spread, results, rouge_task

from amplitune.study.statistics.measured import Measured, measured_tasks
from amplitune.study.stored.results import Results


def planted() -> Measured:
    return rouge_task(np.random.default_rng(0), {"lora": 0.5, "qaa": 0.7}, Spread(0.1, 0.2, 0.2), examples=8)


def read(found: Results) -> Measured:
    (task,) = measured_tasks(found)
    return task


def test_what_is_read_is_what_was_measured() -> None:
    task = planted()
    found = read(results({}, [task]))
    assert (found.task, found.metric, found.higher_is_better, found.examples) == ("t", "rougeL", True, 8)
    assert found.values == task.values
    assert len(found.sums) == 10
    for run, rows in task.sums.items():
        assert found.sums[run] == pytest.approx(rows, abs=1e-9)
    assert found.doubtful == []


def test_failed_runs_and_missing_values_do_not_count() -> None:
    stored = results({}, [planted()])
    stored.table.loc[0, "status"] = "failed"
    stored.table.loc[1, "primary_value"] = float("inf")
    stored.table.loc[2, "primary_value"] = float("nan")
    assert list(read(stored).values["lora"]) == [3, 4]
    stored.table["status"] = "failed"
    assert measured_tasks(stored) == []


def test_examples_are_brought_into_one_order_and_runs_with_others_left_out() -> None:
    task, stored = planted(), results({}, [planted()])
    lines = stored.predictions
    last = (lines["method"] == "qaa") & (lines["seed"] == 4)
    lines.loc[(lines["method"] == "qaa") & (lines["seed"] == 3) & (lines["id"] == 7), "id"] = 99
    shuffled = pd.concat([lines[~last], lines[last].iloc[::-1]], ignore_index=True)
    found = read(Results(**{**vars(stored), "predictions": shuffled}))
    assert found.sums["qaa", 4] == pytest.approx(task.sums["qaa", 4], abs=1e-9)
    assert set(task.sums) - set(found.sums) == {("qaa", 3)}


def test_predictions_without_sums_leave_the_values() -> None:
    stored = results({}, [planted()])
    bare = stored.predictions.assign(sums=None)
    found = read(Results(**{**vars(stored), "predictions": bare}))
    assert (len(found.values["qaa"]), found.sums, found.examples) == (5, {}, 0)
    none = pd.DataFrame(columns=["task", "method", "seed", "id"])
    assert read(Results(**{**vars(stored), "predictions": none})).sums == {}


def test_a_value_that_its_predictions_do_not_give_is_doubtful() -> None:
    stored = results({}, [planted()])
    changed = stored.table["primary_value"].where(stored.table.index != 7, 9.0)
    found = read(Results(**{**vars(stored), "table": stored.table.assign(primary_value=changed)}))
    assert found.doubtful == [("qaa", 2)]
