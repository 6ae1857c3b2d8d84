"""The forms that a report can be exported in, in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amplitune.errors import ConfigError, check_choice
from amplitune.report.export.document import document
from amplitune.report.export.latex import MARK as LATEX_MARK
from amplitune.report.export.latex import to_latex
from amplitune.report.export.markdown import MARK as MARKDOWN_MARK
from amplitune.report.export.markdown import to_markdown
from amplitune.report.export.separated import COMPARED, LONG, comparison_table, long_table
from amplitune.study.atomic import write_atomically
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results


@dataclass(frozen=True)
class Export:
    """A form of export: what writes it, and the first line that all of its files have."""

    write: Callable[[Results, Findings], str]
    first_line: str


EXPORTS: dict[str, Export] = {
    "markdown": Export(lambda results, found: to_markdown(document(results, found)), MARKDOWN_MARK),
    "latex": Export(lambda results, found: to_latex(document(results, found)), LATEX_MARK),
    "csv": Export(lambda results, found: long_table(results), ",".join(LONG)),
    "comparisons": Export(lambda results, found: comparison_table(found), ",".join(COMPARED)),
}


def export(results: Results, found: Findings, form: str) -> str:
    """Write a report in another form.

    Args:
        results: the results of a study.
        found: what the statistics say of them.
        form: one of `EXPORTS`: "markdown" and "latex" (the words and tables of the report), "csv" (every
            number of every run), "comparisons" (every comparison, as csv).

    Returns:
        The text; the same results give the same one.

    Raises:
        ConfigError: there is no such form.
    """
    check_choice("export", form, EXPORTS)
    return EXPORTS[form].write(results, found)


def write_export(text: str, form: str, path: Path, force: bool = False) -> None:
    """Write an export to a file, which may replace an older export of that form and nothing else.

    Args:
        text: what `export` returned.
        form: its form.
        path: the file.
        force: replace whatever is there.

    Raises:
        ConfigError: `path` holds something else, is a folder, or cannot be written.
    """
    try:
        if path.exists() and not force and _first_line(path) != EXPORTS[form].first_line:
            raise ConfigError(
                f"`--output` must be a new file or an older {form} export, but {path} holds something else. "
                "Name another file, or replace it with --force."
            )
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(
            f"`--output` must be a file that can be written, but {path} cannot: {error.strerror}. "
            "Name another one."
        ) from error


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\r\n")
