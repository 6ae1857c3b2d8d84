"""The command that tunes one method of a study."""

import json
from pathlib import Path

import pytest
import typer
from tests.command_line import write_study
from typer.testing import CliRunner

from amplitune.commands.tune import tune
from amplitune.errors import ConfigError

app = typer.Typer()
app.command()(tune)


def test_it_tunes_the_method_and_prints_what_it_chose(tiny: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path, tiny, tuning={"trials": 2})
    arguments = [str(study), "tuning.max_steps=1", "--method", "lora", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    chosen = json.loads(result.stdout)
    stored = json.loads((tmp_path / "out" / "tuning" / "pairs" / "lora" / "chosen.json").read_text())
    assert {key: stored[key] for key in chosen} == chosen
    assert result.stderr.count("pairs / lora / trial ") == 2
    command = (tmp_path / "out" / "tuning" / "pairs" / "lora" / "trial-001" / "command.txt").read_text()
    assert command.split() == [
        *("amplitune", "tune", str(study), "tuning.max_steps=1"),
        *("--task", "pairs", "--method", "lora", "-o", "reproduced"),
    ]


def test_a_method_without_anything_to_tune_is_said_so(tiny: Path, tmp_path: Path) -> None:
    study = write_study(tmp_path, tiny, methods=["base"], tuning={"trials": 2})
    result = CliRunner().invoke(app, [str(study), "--method", "base", "-o", str(tmp_path / "out")])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "base has nothing to tune" in result.stderr


def test_a_method_or_task_that_the_study_does_not_have_is_refused(tiny: Path, tmp_path: Path) -> None:
    study = str(write_study(tmp_path, tiny, tuning={"trials": 2}))
    for options, message in (
        (["--method", "lroa"], "`--method` must be one of lora, but is 'lroa'. Did you mean 'lora'"),
        ([], "`--method` must be one of lora, but is missing"),
        (["--method", "lora", "--task", "pears"], "Did you mean 'pairs'"),
    ):
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(app, [study, *options], catch_exceptions=False)
