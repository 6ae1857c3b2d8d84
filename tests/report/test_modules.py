"""Modules as medians over seeds, in the order of the page."""

import math

import pandas as pd

from amplitune.report.modules import module_table
from amplitune.study.stored.result_columns import MODULE_COLUMNS
from amplitune.study.stored.results import Results


def test_a_module_is_the_median_of_its_seeds(rich: Results) -> None:
    own = rich.modules[rich.modules["task"] == "sentiment"]
    table = module_table(own, ["bias", "full", "lora", "prefix", "sora", "qaa"])
    assert table is not None
    labels = ["Effective rank", "Stable rank", "CKA", "Linear", "After circuit"]
    assert [column.label for column in table.columns] == labels
    row = next(row for row in table.rows if row.method == "qaa")
    seeds = own[(own["method"] == "qaa") & (own["module"] == row.module)]["effective_rank"]
    assert len(seeds) == 5
    assert row.cells[0] == sorted(seeds)[2]
    assert row.cells[4] == 0.6
    lora = next(row for row in table.rows if row.method == "lora")
    assert lora.cells[4] is None
    assert [row.method for row in table.rows[:5]] == ["bias"] * 4 + ["full"]


def test_nothing_measured_is_no_table() -> None:
    assert module_table(pd.DataFrame(columns=list(MODULE_COLUMNS)), []) is None
    empty = {"task": "a", "method": "b", "seed": 0, "module": "m", "cka": math.nan}
    assert module_table(pd.DataFrame([empty]), ["b"]) is None
