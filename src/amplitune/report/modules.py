"""What training changed in each module, as a table of medians over seeds."""

import math
from dataclasses import dataclass

import pandas as pd

from amplitune.report.columns import CIRCUIT, LEARNED, Column
from amplitune.report.units import significant

KEYS = ("task", "method", "seed", "module")


@dataclass(frozen=True)
class ModuleRow:
    """A module of a method; None is what was not measured."""

    method: str
    module: str
    cells: tuple[float | None, ...]


@dataclass(frozen=True)
class ModuleTable:
    """Modules of every method of a task, with what was measured of them."""

    columns: tuple[Column, ...]
    rows: tuple[ModuleRow, ...]


def module_table(modules: pd.DataFrame, order: list[str]) -> ModuleTable | None:
    """Take the median over seeds of each module of each method.

    Args:
        modules: the modules of one task's finished runs (task, method, seed, module, measures).
        order: the methods in the order of the page.

    Returns:
        The table in that order and the modules' own; None if nothing was measured.
    """
    measures = [name for name in modules.columns if name not in KEYS and modules[name].notna().any()]
    if modules.empty or not measures:
        return None
    known = {column.key: column for column in (*LEARNED, *CIRCUIT)}
    columns = tuple(
        known.get(name, Column(name, name.replace("_", " "), significant, "of the module's circuit"))
        for name in measures
    )
    medians = modules.groupby(["method", "module"], sort=False)[measures].median()
    rows = [
        ModuleRow(str(method), str(module), tuple(_known(value) for value in values))
        for (method, module), *values in medians.itertuples(name=None)
    ]
    place = {method: position for position, method in enumerate(order)}
    return ModuleTable(columns, tuple(sorted(rows, key=lambda row: place.get(row.method, len(place)))))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
