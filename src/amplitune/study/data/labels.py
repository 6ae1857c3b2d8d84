"""Class labels of a text task: their names, their order, and the number of each row's label."""

from collections.abc import Sequence

from amplitune.errors import DataError
from amplitune.study.data.sources import Table


def label_name(value: object) -> str:
    """Write a label as text, whole numbers without a fraction.

    Args:
        value: a label as the source gives it.

    Example:
        >>> [label_name(value) for value in (1, 1.0, "positive", True)]
        ['1', '1', 'positive', 'True']
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def class_names(train: Table, column: str, labels: Sequence[str] | None, task: str) -> list[str]:
    """List a task's classes in order.

    Args:
        train: the training rows; classes never come from evaluation data.
        column: the label's column.
        labels: the user's names in order, or None.
        task: the task's name, for the message.

    Returns:
        `labels` if given, otherwise the labels seen, whole numbers by size and names alphabetically.

    Raises:
        DataError: a row has no label, or there are fewer than two classes.

    Example:
        >>> class_names(Table("t", [{"y": 10}, {"y": 9}, {"y": 10}]), "y", None, "t")
        ['9', '10']
    """
    seen = {_required(train, row, column, f"train split of task {task!r}") for row in range(len(train.rows))}
    if len(seen) < 2:
        raise DataError(
            f"The training data of task {task!r} must have at least two classes, but column {column!r} of "
            f"{train.source} only has {', '.join(map(repr, seen))}.\n"
            "Give data with two or more labels."
        )
    if labels is not None:
        return list(labels)
    numeric = all(name.removeprefix("-").isdecimal() for name in seen)
    return sorted(seen, key=lambda name: (int(name), name) if numeric else (0, name))


def label_index(table: Table, row: int, column: str, labels: Sequence[str], where: str) -> int:
    """Find the number of a row's class.

    Args:
        table: the rows of one split.
        row: which row.
        column: the label's column.
        labels: the classes' names in order; a whole number that is no name counts into them.
        where: the split and task, for the message.

    Returns:
        The position in `labels`.

    Raises:
        DataError: the row has no label, or one that the training data does not have.
    """
    name = _required(table, row, column, where)
    if name in labels:
        return labels.index(name)
    if name.isdecimal() and int(name) < len(labels) and not any(label.isdecimal() for label in labels):
        return int(name)
    raise DataError(
        f"Column {column!r} in the {where} must hold labels of the training data "
        f"({', '.join(map(repr, labels))}), but row {row} (counted from 0) of {table.source} has {name!r}.\n"
        "Correct the label, or add training rows with it."
        + (" A label of -1 marks test data without labels: use labelled data." if name == "-1" else "")
    )


def _required(table: Table, row: int, column: str, where: str) -> str:
    value = table.rows[row].get(column)
    name = "" if value is None else label_name(value)
    if not name:
        raise DataError(
            f"Each row in the {where} must have a label in column {column!r}, but row {row} (counted from 0) "
            f"of {table.source} has none.\n"
            "Fill it in, or use labelled data: some published test splits have no labels."
        )
    return name
