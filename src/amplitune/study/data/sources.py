"""Rows of a task's splits, read from files, from the Hugging Face hub or from the zoo's generators."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amplitune.errors import DataError, near_matches

Row = dict[str, Any]

ZOO_PREFIX = "zoo:"


@dataclass(frozen=True)
class Table:
    """The rows of one split and the words that say where they came from.

    Args:
        source: file name, or dataset and split.
        rows: one mapping from column to value a row.
    """

    source: str
    rows: list[Row]

    @property
    def columns(self) -> list[str]:
        """Every column that some row has, in order of first appearance."""
        return list(dict.fromkeys(column for row in self.rows for column in row))


def read_file(path: str | Path, argument: str) -> Table:
    """Read a JSON, JSON Lines, CSV, TSV or Parquet file.

    Args:
        path: the file; `~` is the home folder, a relative path starts at the working directory.
        argument: the setting that named the file, for the message.

    Returns:
        Its rows.

    Raises:
        DataError: the file is absent, empty, unreadable, or of another kind.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in READERS:
        raise DataError(
            f"`{argument}` must end in one of {', '.join(READERS)}, but is {str(path)!r}.\n"
            "Convert the file, or give it the suffix of what it holds."
        )
    if not file.is_file():
        beside = sorted(p.name for p in file.parent.glob("*") if p.suffix.lower() in READERS)
        hint = near_matches(file.name, beside) if beside else f"No data file lies in {file.parent}."
        raise DataError(f"`{argument}` must be an existing file, but {str(path)!r} is not there.\n{hint}")
    try:
        rows = READERS[file.suffix.lower()](file)
    except UnicodeDecodeError as error:
        raise DataError(
            f"`{argument}` must be UTF-8 text, but {str(path)!r} is not: {error}.\nConvert it to UTF-8."
        ) from error
    return _not_empty(Table(file.name, rows), f"`{argument}` {str(path)!r}")


def _json_lines(file: Path) -> list[Row]:
    rows = []
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_json_row(line, file, number))
    return rows


def _json_row(line: str, file: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"Each line of a JSON Lines file must be one JSON object, but {file}:{number} is not readable: "
            f"{error.msg} at column {error.colno}.\n"
            "Correct or delete that line."
        ) from error
    return _json_object(row, f"{file}:{number}")


def _json_object(row: object, where: str) -> Row:
    if not isinstance(row, dict):
        raise DataError(
            f"Each row must be a JSON object with named columns, but {where} holds {type(row).__name__} "
            f'{str(row)[:40]!r}.\nWrite it as {{"prompt": ..., "completion": ...}}.'
        )
    return row


def _json(file: Path) -> list[Row]:
    text = file.read_text(encoding="utf-8-sig")
    if not text.lstrip().startswith("["):
        # Many published ".json" files are JSON Lines.
        return _json_lines(file)
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"A JSON file must be a list of objects, but {file}:{error.lineno} is not readable: {error.msg} "
            f"at column {error.colno}.\n"
            "Correct it, or name it .jsonl if it has one object a line."
        ) from error
    return [_json_object(row, f"item {number} of {file}") for number, row in enumerate(rows)]


def _delimited(delimiter: str) -> Callable[[Path], list[Row]]:
    def read(file: Path) -> list[Row]:
        # Python's default of 131,072 characters a field is less than a long document.
        csv.field_size_limit(2**31 - 1)
        rows: list[Row] = []
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
            try:
                for row in reader:
                    if None in row or None in row.values():
                        raise DataError(
                            "Each row of a CSV file must have as many fields as its header "
                            f"({len(reader.fieldnames or [])}), but {file}:{reader.line_num} has not.\n"
                            f"Quote fields that contain {delimiter!r} or line breaks."
                        )
                    rows.append(dict(row))
            except csv.Error as error:
                raise DataError(
                    f"A CSV file must be readable throughout, but {file}:{reader.line_num} is not: {error}.\n"
                    "Correct that row."
                ) from error
        return rows

    return read


def _parquet(file: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_table(file).to_pylist())
    except pa.ArrowException as error:
        raise DataError(
            f"{file} must be a Parquet file, but cannot be read as one: {error}.\nWrite it again."
        ) from error


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".parquet": _parquet,
}


def read_hub(name: str, config_name: str | None, splits: Mapping[str, str | None]) -> dict[str, Table]:
    """Read splits of a dataset from the Hugging Face hub, or from its local cache when offline.

    Args:
        name: dataset id, such as "stanfordnlp/sst2", or a local folder that `datasets` can read.
        config_name: its configuration, such as "cola" of "glue".
        splits: role ("train", "validation", "test") to the split's name; a role with None is left out unless
            the dataset has a split of that very name.

    Returns:
        Role to rows; class labels as their names, None where a row has no label.

    Raises:
        DataError: the dataset cannot be reached, does not exist, or lacks a split.
    """
    import datasets

    label = name if config_name is None else f"{name}/{config_name}"
    try:
        loaded = datasets.load_dataset(name, config_name)
    except Exception as error:
        # datasets, huggingface_hub and the HTTP client below them raise kinds that share no base.
        raise DataError(
            f"`dataset_name` must be a dataset that can be loaded, but {label!r} cannot: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}\n"
            "Check the name and `dataset_config_name`. Without a network: run it once with one so that the "
            "cache has it, or download its files and set train_file, validation_file and test_file."
        ) from error
    tables = {}
    for role, split in _choose_splits(label, splits, list(loaded)).items():
        data = loaded[split]
        names = {c: f.names for c, f in data.features.items() if isinstance(f, datasets.ClassLabel)}
        rows = [dict(row) for row in data]
        for row in rows:
            for column, classes in names.items():
                value = row[column]
                row[column] = classes[value] if value is not None and value >= 0 else None
        tables[role] = _not_empty(Table(f"{label}[{split}]", rows), f"Split {split!r} of {label!r}")
    return tables


def read_zoo(name: str, splits: Mapping[str, str | None]) -> dict[str, Table]:
    """Generate the splits of a bundled task.

    Args:
        name: the task's name without "zoo:".
        splits: as in `read_hub`.

    Returns:
        Role to rows.

    Raises:
        DataError: there is no such task or split.
    """
    # Imported here: a study on files needs no generator.
    from amplitune.zoo import tasks as zoo_tasks

    if name not in zoo_tasks.TASKS:
        raise DataError(
            f"`dataset_name` must be '{ZOO_PREFIX}' and a bundled task, but is '{ZOO_PREFIX}{name}'.\n"
            f"{near_matches(name, zoo_tasks.TASKS)}"
        )
    generated = zoo_tasks.generate(name)
    label = f"{ZOO_PREFIX}{name}"
    return {
        role: _not_empty(
            Table(f"{label}[{split}]", [dict(row) for row in generated[split]]), f"{label}[{split}]"
        )
        for role, split in _choose_splits(label, splits, list(generated)).items()
    }


def _choose_splits(label: str, wanted: Mapping[str, str | None], present: list[str]) -> dict[str, str]:
    chosen = {}
    for role, split in wanted.items():
        if split is None and role not in present:
            continue
        if split is not None and split not in present:
            raise DataError(
                f"`{role}_split` must be a split of {label!r}, but {split!r} is not there.\n"
                f"Its splits are: {', '.join(map(repr, present))}. {near_matches(split, present)}"
            )
        chosen[role] = split or role
    return chosen


def _not_empty(table: Table, what: str) -> Table:
    if not table.rows:
        raise DataError(
            f"{what} must hold at least one row, but is empty.\nCheck how it was written, or give another."
        )
    return table
