"""Results and comparisons as csv: every number of every run, read back equal."""

import io

import pandas as pd
import pytest

from amplitune.report.export import export
from amplitune.report.export.separated import COMPARED, LONG
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results


@pytest.fixture(scope="module")
def long(rich: Results, rich_found: Findings) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(export(rich, rich_found, "csv")))


def test_every_number_is_a_row_and_reads_back_equal(rich: Results, long: pd.DataFrame) -> None:
    assert tuple(long.columns) == LONG
    keys = ["task", "method", "seed"]
    values = long[long["measure"] == "rougeL"].set_index(keys)["value"]
    expected = rich.table[rich.table["rougeL"].notna()].set_index(keys)["rougeL"]
    assert len(values) == 150
    pd.testing.assert_series_equal(values, expected, check_names=False, rtol=0, atol=0)
    measures = set(long["measure"])
    assert {"steps_to_target", "trainable_parameters", "cka", "seconds"} < measures
    assert "primary_value" not in measures
    assert set(long["role"]) == {"reference", "method", "control", "matched"}


def test_a_failed_run_stays_with_its_reason(rich: Results, long: pd.DataFrame) -> None:
    failed = long[long["status"] == "failed"]
    assert list(failed["measure"]) == ["seconds"]
    assert failed["reason"].str.contains("loss is NaN").all()
    assert long[long["status"] == "done"]["reason"].isna().all()
    assert long.groupby(["task", "method", "seed"]).ngroups == len(rich.table)


def test_every_comparison_is_a_row(rich: Results, rich_found: Findings) -> None:
    table = pd.read_csv(io.StringIO(export(rich, rich_found, "comparisons")))
    assert tuple(table.columns) == COMPARED
    checks = sum(len(check.comparisons) for check in rich_found.checks)
    assert checks == 6
    assert len(table) == len(rich_found.comparisons) + checks
    first = rich_found.comparisons[0]
    assert table.loc[0, "difference"] == first.difference
    assert table.loc[0, "verdict"] == first.verdict
