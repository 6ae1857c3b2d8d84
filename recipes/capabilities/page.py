"""The tables of `docs/adapters.md`: every cell tried, written or compared."""

import argparse
import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import transformers
from recipes.capabilities import bases, lifecycle, processes, trainers, training
from recipes.capabilities.trial import CONFIGS, Trial, UnsupportedError, UntriedError

from amplitune.errors import AmplituneError

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
BEGIN, END = "<!-- capabilities: begin -->", "<!-- capabilities: end -->"
TRIALS = (*lifecycle.TRIALS, *bases.TRIALS, *training.TRIALS, *processes.TRIALS, *trainers.TRIALS)
YES, NO, OPEN = "✓", "✗", "?"


class BrokenTrialError(Exception):
    """A trial failed in a way that is no reason."""


def outcome(trial: Trial, method: str) -> tuple[str, str]:
    """Try one cell.

    Returns:
        A mark, and the reason where it is not a tick.

    Raises:
        BrokenTrialError: it failed without an error that is a reason.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            trial.run(method)
    except UntriedError as error:
        return OPEN, f"not tried: {error}"
    except UnsupportedError as error:
        return NO, str(error)
    except (AmplituneError, ValueError, NotImplementedError) as error:
        return NO, str(error)
    except Exception as error:
        if method == "LoRA":
            return NO, str(error).strip().splitlines()[0]
        raise BrokenTrialError(f"{trial.name} / {method}: {type(error).__name__}: {error}") from error
    return YES, ""


def table(trials: Iterable[Trial]) -> tuple[str, list[str]]:
    """Try every cell.

    Returns:
        The table in Markdown with its notes, and what is broken.
    """
    notes: dict[str, int] = {}
    lines: list[str] = []
    broken: list[str] = []
    group = ""
    for trial in trials:
        if trial.group != group:
            group = trial.group
            lines += ["", f"| {group} | {' | '.join(CONFIGS)} |", f"|---|{'---|' * len(CONFIGS)}"]
        cells = []
        for method in CONFIGS:
            began = time.perf_counter()
            try:
                mark, reason = outcome(trial, method)
            except BrokenTrialError as error:
                broken.append(str(error))
                mark, reason = NO, "broken"
            print(
                f"{mark} {trial.name} / {method} {time.perf_counter() - began:.1f} s {reason[:90]}",
                file=sys.stderr,
            )
            number = notes.setdefault(reason, len(notes) + 1) if reason else None
            cells.append(mark if number is None else f"{mark} [{number}](#reason-{number})")
        lines.append(f"| {trial.name} | {' | '.join(cells)} |")
    lines += ["", *(f'{n}. <a id="reason-{n}"></a>{escaped(reason)}' for reason, n in notes.items())]
    return "\n".join(lines).strip(), broken


def escaped(reason: str) -> str:
    """Keep a message on one line of Markdown."""
    return " ".join(reason.split()).replace("<", "&lt;").replace("*", "\\*")


def main() -> int:
    """Make the tables, and write or compare them."""
    parser = argparse.ArgumentParser(prog="python -m recipes.capabilities", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument(
        "--only", default="", help="only trials whose name holds this; prints, writes nothing"
    )
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    transformers.logging.set_verbosity_error()
    text, broken = table([trial for trial in TRIALS if arguments.only in trial.name])
    for failure in broken:
        print(f"broken: {failure}", file=sys.stderr)
    if broken:
        return 1
    if arguments.only:
        print(text)
        return 0
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
    if arguments.check:
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0
