"""The command line as a user meets it: a whole study, its resumption, its report, its single runs."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pandas
import pytest
from tests.command_line import InProcess, amplitune, write_study

from amplitune.commands import options

pytestmark = pytest.mark.slow

BROKEN = {"learning_rate": 1e30, "max_grad_norm": 1e30, "logging_steps": 1, "eval_steps": 4}


class Compared:
    """A folder in which a study was compared, and what that printed."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        self.folder = folder
        broken = {"method": "full", "name": "broken", "training": BROKEN}
        write_study(folder, tiny, methods=["base", "qaa", broken])
        self.first = amplitune("compare", "study.yaml", "-o", "out", "--json", cwd=folder)

    def files(self) -> dict[str, int]:
        found = (path for path in (self.folder / "out" / "runs").rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def compared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    return Compared(tmp_path_factory.mktemp("compared"), tiny)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_study_with_a_failed_run_ends_with_its_own_exit_code(compared: Compared) -> None:
    assert compared.first.returncode == options.SOME_FAILED, compared.first.stderr
    rows = {row["method"]: row for row in strict(compared.first.stdout)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "base": "done",
        "qaa": "done",
        "broken": "failed",
    }
    assert rows["broken"]["reason"].startswith("TrainingError: The training loss must be finite")
    assert rows["broken"]["primary_value"] is None
    assert rows["base"]["step_seconds"] is None
    assert rows["qaa"]["accuracy"] is None
    assert rows["qaa"]["angles"] == 20
    assert rows["qaa"]["primary_metric"] == "rougeL"


def test_progress_is_plain_lines_on_standard_error(compared: Compared) -> None:
    lines = compared.first.stderr.splitlines()
    runs = [line for line in lines if line.startswith("[")]
    assert [line.split(":")[0] for line in runs] == [
        f"[{place}/3] pairs / {name} / seed 0" for place, name in enumerate(("base", "qaa", "broken"), 1)
    ]
    assert all(line.endswith(" left") for line in runs[:2])
    assert "\x1b" not in compared.first.stderr
    assert "\r" not in compared.first.stderr
    assert "--retry-failed" in lines[-1]
    assert "Traceback" not in compared.first.stderr


def test_the_folder_of_a_study(compared: Compared) -> None:
    out = compared.folder / "out"
    assert {path.name for path in out.iterdir()} == {
        *("study.resolved.yaml", "results.parquet", "report.html", "runs", ".lock"),
    }
    table = pandas.read_parquet(out / "results.parquet")
    assert list(table["method"]) == ["base", "qaa", "broken"]
    assert list(table["environment"].notna()) == [True] * 3
    for name in ("base", "qaa", "broken"):
        assert (out / "runs" / "pairs" / name / "seed-0" / "log.txt").exists()
    assert "Traceback" in (out / "runs" / "pairs" / "broken" / "seed-0" / "log.txt").read_text()


def test_nothing_reached_for_the_network(compared: Compared) -> None:
    log = compared.folder / "attempts.log"
    assert not log.exists(), log.read_text()


def test_a_second_compare_repeats_nothing(compared: Compared, command: InProcess) -> None:
    before = compared.files()
    study, out = str(compared.folder / "study.yaml"), str(compared.folder / "out")
    code, stdout, stderr = command("compare", study, "-o", out)
    assert code == options.SOME_FAILED
    assert compared.files() == before
    assert "Nothing is missing." in stderr
    assert "qaa" in stdout
    code, _, stderr = command("compare", study, "-o", out, "training.max_steps=5")
    assert code == options.USAGE
    assert "`training.max_steps` differ" in stderr
    assert compared.files() == before


def test_the_report_again_from_stored_results(compared: Compared, command: InProcess, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(compared.folder / "out", out)
    (out / "report.html").unlink()
    code, stdout, stderr = command("report", str(out), "--json")
    assert code == options.DONE
    assert strict(stdout) == strict(compared.first.stdout)
    assert (out / "report.html").stat().st_size > 10_000
    code, stdout, _ = command("report", str(out))
    assert code == options.DONE
    assert "qaa" in stdout
    code, _, stderr = command("report", str(tmp_path))
    assert code == options.USAGE
    assert stderr.startswith("error: `directory` must be the folder of a study")


def test_the_command_of_a_row_gives_its_numbers_again(compared: Compared) -> None:
    row = next(row for row in strict(compared.first.stdout) if row["method"] == "qaa")
    program, *arguments = shlex.split(row["command"])
    assert program == "amplitune"
    again = amplitune(*arguments, cwd=compared.folder)
    assert again.returncode == options.DONE, again.stderr
    folder = Path("runs", "pairs", "qaa", "seed-0")
    first, second = compared.folder / "out" / folder, compared.folder / "reproduced" / folder
    assert (first / "predictions.jsonl").read_bytes() == (second / "predictions.jsonl").read_bytes()
    scores = [
        next(
            event
            for event in map(strict, (run / "metrics.jsonl").read_text().splitlines())
            if event["event"] == "test"
        )
        for run in (first, second)
    ]
    assert scores[0] == scores[1]


def test_a_single_run_that_fails(tiny: Path, tmp_path: Path, command: InProcess) -> None:
    study = write_study(tmp_path, tiny, methods=["full"], training=BROKEN)
    code, _, stderr = command("train", str(study), "--method", "full", "-o", "out")
    assert code == options.FAILED
    assert "TrainingError" in stderr
    code, _, stderr = command("train", str(study), "--method", "full", "-o", "out")
    assert code == options.USAGE
    assert "is there already" in stderr
