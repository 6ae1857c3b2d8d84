"""Results and comparisons as comma-separated values, one table a file."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from amplitune.report.aggregate import with_convergence
from amplitune.report.roles import roles_of
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results

RUN = ("task", "kind", "method", "role", "seed", "status", "reason", "environment")
LONG = (*RUN, "measure", "value")
COMPARED = (
    *("task", "method", "baseline", "view", "metric", "n_seeds", "difference", "low", "high"),
    *("seed_error", "example_error", "p", "p_adjusted", "detectable", "verdict", "reason"),
)


def long_table(results: Results) -> str:
    """Write every number of every run as a row of its own; a run without any is one row without a measure."""
    table = with_convergence(results)
    measures = [
        name
        for name in table.columns
        if name not in (*RUN, "primary_value") and pd.api.types.is_float_dtype(table[name])
    ]
    roles = roles_of(results.study, list(dict.fromkeys(table["method"])))
    rows: list[list[Any]] = []
    for record in table.to_dict("records"):
        record["role"] = roles[record["method"]].kind
        run = [record[name] for name in RUN]
        known = [(name, record[name]) for name in measures if math.isfinite(record[name])]
        rows += [[*run, name, _plain(value)] for name, value in known] or [[*run, "", ""]]
    return _written(LONG, rows)


def comparison_table(found: Findings) -> str:
    """Write every comparison as a row, those that check the tasks among them."""
    every = [*found.comparisons, *(c for check in found.checks for c in check.comparisons)]
    return _written(COMPARED, ([getattr(c, name) for name in COMPARED] for c in every))


def _blank(value: Any) -> Any:
    return "" if value is None or value != value else value


def _plain(value: float) -> int | float:
    """Whole numbers without a point: 20480, not 20480.0."""
    return int(value) if value.is_integer() else value


def _written(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_blank(value) for value in row] for row in rows)
    return text.getvalue()
