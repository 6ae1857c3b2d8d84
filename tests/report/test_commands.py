"""`amplitune report` on the command line: the page, the exports, and files that are not its own."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.command_line import InProcess

FORMS = ("markdown", "latex", "csv", "comparisons")


@pytest.fixture
def folder(study_folder: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic study's folder."""
    return Path(shutil.copytree(study_folder, tmp_path / "study"))


def test_the_page_and_the_table(command: "InProcess", folder: Path) -> None:
    code, out, err = command("report", str(folder))
    assert code == 0
    assert "not tested" in out
    assert "Report:" in err
    assert {"report.html", "results.parquet"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_printed_and_nothing_is_written(command: "InProcess", folder: Path, form: str) -> None:
    before = sorted(folder.rglob("*"))
    code, out, err = command("report", str(folder), "--export", form)
    assert (code, err) == (0, "")
    assert out.count("\n") > 8
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("form", FORMS)
def test_an_export_replaces_an_older_one_of_its_form_and_nothing_else(
    command: "InProcess", folder: Path, tmp_path: Path, form: str
) -> None:
    path, other = tmp_path / "new" / "out", tmp_path / "notes"
    command("report", str(folder), "--export", form, "-o", str(path))
    first = path.read_text(encoding="utf-8")
    path.write_text(first + "older\n", encoding="utf-8")
    assert command("report", str(folder), "--export", form, "-o", str(path))[0] == 0
    assert path.read_text(encoding="utf-8") == first
    other.write_text("mine\n")
    code, _, err = command("report", str(folder), "--export", form, "-o", str(other))
    assert code == 2
    assert "holds something else" in err
    assert other.read_text() == "mine\n"
    assert command("report", str(folder), "--export", form, "-o", str(other), "--force")[0] == 0
    assert other.read_text(encoding="utf-8") == first


def test_a_folder_is_no_file(command: "InProcess", folder: Path, tmp_path: Path) -> None:
    code, _, err = command("report", str(folder), "--export", "csv", "-o", str(tmp_path), "--force")
    assert code == 2
    assert "must be a file that can be written" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--export", "markdwon"), "Did you mean 'markdown'?"),
        (("-o", "out.md"), "`--output` belongs to an export"),
        (("--force",), "`--force` belongs to an export"),
        (("--export", "csv", "--json"), "two forms"),
    ],
)
def test_what_does_not_go_together(
    command: "InProcess", folder: Path, words: tuple[str, ...], message: str
) -> None:
    code, _, err = command("report", str(folder), *words)
    assert code == 2
    assert message in err
