"""The plan of a study as tables for a terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from amplitune.study.planning.plan import MethodPlan, StudyPlan, TaskPlan

_UNITS = ("B", "kB", "MB", "GB", "TB")


def plan_tables(plan: StudyPlan) -> Iterator[Table | str]:
    """The tasks, the methods on each, and a line about the whole.

    Args:
        plan: the plan.

    Returns:
        What rich prints, in order.
    """
    for task in plan.tasks:
        yield f"{task.task} ({task.kind}) on {task.model.rpartition('/')[2]}"
        yield _data(task)
        yield _methods([row for row in plan.methods if row.task == task.task])
    yield from notes(plan)


def _data(task: TaskPlan) -> Table:
    table = _table("split", ("examples", "tokens", "longest"))
    for name, split in task.splits.items():
        table.add_row(name, f"{split.examples:,}", f"{split.tokens:,}", f"{split.longest:,}")
    return table


def _methods(rows: Sequence[MethodPlan]) -> Table:
    headings = ("runs", "trials", "angles +\nweights", "memory\na run", "disk", "time")
    table = _table("method", headings)
    for row in rows:
        apart = (row.angles, row.classical_parameters)
        table.add_row(
            row.method,
            str(row.runs),
            str(row.trials) if row.trials else "",
            " + ".join(f"{count:,}" for count in apart if count is not None),
            in_bytes(row.memory.peak),
            in_bytes(row.disk_bytes),
            in_time(row.seconds),
        )
    return table


def _table(first: str, headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # Only the names may wrap: a number cut short is a wrong number.
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def notes(plan: StudyPlan) -> list[str]:
    """What the tables do not say: totals, and why numbers are missing."""
    trials = f" after {plan.trials} trials of tuning" if plan.trials else ""
    time = in_time(plan.seconds)
    lines = [
        f"{plan.runs} runs{trials}, {plan.workers} at a time: "
        + (f"about {time}" if time else "time not probed (--probe)")
        + f", {in_bytes(plan.disk_bytes) or 'an unknown part'} of disk.",
        "Memory is what the tensors of one run take at most, on the longest batches; its libraries come "
        "on top. Disk and time are of all runs of a row.",
    ]
    if plan.peak_bytes is not None and plan.peak_bytes > plan.available_bytes:
        lines.append(
            f"Memory: {plan.workers} runs at a time may need {in_bytes(plan.peak_bytes)} beside their "
            f"libraries, but {in_bytes(plan.available_bytes)} are available. Lower workers or batch sizes, "
            "or set training.gradient_checkpointing: true."
        )
    lines += [f"{row.task} / {row.method}: {row.note}." for row in plan.methods if row.note]
    return lines


def in_bytes(number: float | None) -> str:
    """Bytes with two digits that count; nothing where there is no number.

    Example:
        >>> in_bytes(1_234_567), in_bytes(38_000_000_000), in_bytes(None)
        ('1.2 MB', '38 GB', '')
    """
    if number is None:
        return ""
    unit = 0
    while number >= 999.5 and unit + 1 < len(_UNITS):
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if number < 9.95 and unit else f"{number:.0f} {_UNITS[unit]}"


def in_time(seconds: float | None) -> str:
    """Seconds in the units that people use; nothing where there is no number.

    Example:
        >>> in_time(48.2), in_time(725), in_time(8_000), in_time(400_000), in_time(None)
        ('48 s', '12 min', '2 h 13 min', '4 d 15 h', '')
    """
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"
