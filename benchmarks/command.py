"""What the commands of all benchmarks share: options, the table that is printed, the JSON that is kept."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.environment import describe
from benchmarks.ratios import Ratio

from amplitune.study.atomic import write_atomically

RESULTS = Path(__file__).resolve().parent / "results"
ROOT = RESULTS.parents[1]

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def parser_of(name: str, description: str | None, rounds: int) -> argparse.ArgumentParser:
    """Make the parser with the options that all benchmarks have.

    Args:
        name: the benchmark's name.
        description: what it measures.
        rounds: default number of interleaved rounds.

    Returns:
        The parser.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--threads", type=int, help="threads of torch; unset, torch's own choice")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and orders (default 0)")
    parser.add_argument("-o", "--output", type=Path, help="the JSON file; unset, one in benchmarks/results/")
    parser.add_argument("--overwrite", action="store_true", help="replace the JSON file if it exists")
    parser.add_argument("--commit", help="recorded as the commit where the folder is not a git repository")
    return parser


def prepare(parser: argparse.ArgumentParser, arguments: argparse.Namespace, name: str) -> Path:
    """Check what can be checked before anything is measured, and set threads and seed.

    Args:
        parser: reports what is wrong and ends the program.
        arguments: the parsed options.
        name: of the file, if no other is given.

    Returns:
        The file to write.
    """
    path: Path = arguments.output or RESULTS / f"{name}.json"
    if path.exists() and not arguments.overwrite:
        parser.error(f"--output must not exist, but {path.name} does. Give -o FILE, or --overwrite.")
    if arguments.rounds < 1:
        parser.error(
            f"--rounds must be at least 1, but is {arguments.rounds}. Leave it unset for the default."
        )
    if arguments.threads is not None:
        if arguments.threads < 1:
            parser.error(f"--threads must be at least 1, but is {arguments.threads}. Leave it unset.")
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    return path


def record(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Begin the record of a run.

    Args:
        name: the benchmark's name.
        arguments: the parsed options.

    Returns:
        Name, environment and settings; the benchmark adds its rows.
    """
    aside = ("output", "overwrite", "commit")
    settings = {option: value for option, value in vars(arguments).items() if option not in aside}
    return {"benchmark": name, "environment": describe(arguments.commit), "settings": settings}


def keep(path: Path, result: dict[str, Any]) -> None:
    """Write the record.

    Args:
        path: the file.
        result: plain values and ratios.
    """
    text = json.dumps(result, indent=1, allow_nan=False, default=Ratio.to_dict)
    write_atomically(path, text + "\n")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write rows as a Markdown table with aligned columns.

    Args:
        header: one title for each column.
        rows: one value for each column.

    Returns:
        The table's lines.

    Example:
        >>> print(table(["d", "ratio"], [[768, "0.9"]]))
        | d   | ratio |
        | --- | ----- |
        | 768 | 0.9   |
    """
    cells = [list(header), *([str(value) for value in row] for row in rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    )
