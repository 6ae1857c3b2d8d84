"""The survey command: its table in 80 columns, its JSON, its settings."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from tests.study.survey.configs import save
from typer.testing import CliRunner

from amplitune.commands.survey import parse_settings, show, survey
from amplitune.errors import ConfigError
from amplitune.study.survey import Row, Survey
from amplitune.study.survey.catalogue import ENTRIES
from amplitune.study.survey.entry import GROUPS


def run(*arguments: str, **options: Any) -> Any:
    app = typer.Typer()
    app.command()(survey)
    return CliRunner().invoke(app, arguments, catch_exceptions=False, **options)


def test_the_table_fits_eighty_columns_and_names_every_method(tmp_path: Path) -> None:
    result = run(save(tmp_path)["llama"], "lora.r=4", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = "".join(line.split("│")[1].strip() for line in lines if line.count("│") >= 5)
    assert all(name in text for name in ENTRIES)
    titles = [line.strip() for line in lines]
    assert [group for group in GROUPS if group in titles] == list(GROUPS)
    assert "1,792 (1.79 %)" in result.stdout


def test_json_has_every_row(tmp_path: Path) -> None:
    result = run(save(tmp_path)["bert"], "--json", "--task", "generation")
    made = json.loads(result.stdout)
    assert (len(made["rows"]), made["task"], made["architecture"]) == (
        len(ENTRIES),
        "generation",
        "BertLMHeadModel",
    )


def test_what_is_not_described_is_printed_with_blanks() -> None:
    made = Survey(
        "m", "Llama", "generation", {"d": 4}, (Row("fresh", "not described", "", parameters=3, percent=1.0),)
    )
    console = Console(width=80, file=io.StringIO())
    show(made, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "not described" in text and "fresh" in text and "3 (1 %)" in text


@pytest.mark.parametrize("word", ["lora", "lora.r", "lora=4", ".r=4", "lora.=4"])
def test_a_setting_in_another_form_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"must have the form method\.key=value"):
        parse_settings([word])


def test_a_wrong_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`--task` must be generation or classification, but is 'chat'"):
        run(save(tmp_path)["llama"], "--task", "chat")
