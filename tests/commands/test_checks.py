"""`validate` and `doctor`: what they print, what they refuse, what they leave alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.tiny_models import study_values, task_values
from typer import Typer
from typer.testing import CliRunner

from amplitune.commands import checks
from amplitune.errors import ConfigError, DataError
from amplitune.study.planning import doctor
from amplitune.study.planning.doctor import Finding

app = Typer()
app.command()(checks.validate)
app.command()(checks.doctor)


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def write(folder: Path, tiny: Path, **changes: Any) -> str:
    (folder / "study.yaml").write_text(yaml.safe_dump(study_values(tiny, **changes)), encoding="utf-8")
    return "study.yaml"


def test_validate_prints_the_plan_and_writes_nothing(folder: Path, tiny: Path) -> None:
    study = write(folder, tiny, methods=["base", "lora", "qaa"])
    code, out = call("validate", study, "seeds=[0,1,2]")
    assert code == 0
    assert "9 runs, 1 at a time" in out
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith(("base", "lora", "qaa"))]
    assert rows == [["base", "3"], ["lora", "3"], ["qaa", "3"]]
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]


def test_validate_as_json(folder: Path, tiny: Path) -> None:
    code, out = call("validate", write(folder, tiny, methods=["lora"]), "--json", "training.max_steps=7")
    data = json.loads(out)
    assert (code, data["runs"], data["methods"][0]["method"]) == (0, 1, "lora")


def test_validate_needs_no_weights(folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    assert call("validate", write(folder, tiny, methods=["full", "qaa"]))[0] == 0


def test_validate_names_every_problem(folder: Path, tiny: Path) -> None:
    tasks = [
        task_values(tiny),
        {**task_values(tiny), "name": "absent", "train_file": "/no/such.jsonl"},
        {**task_values(tiny), "name": "short", "max_length": 3},
    ]
    methods = ["base", {"method": "lora", "config": {"target_modules": ["nowhere"]}}]
    with pytest.raises(ConfigError) as caught:
        call("validate", write(folder, tiny, tasks=tasks, methods=methods))
    message = str(caught.value)
    assert message.startswith("3 problems.")
    assert all(words in message for words in ("/no/such.jsonl", "nowhere", "`max_length` of task 'short'"))
    assert not isinstance(caught.value, DataError)
    with pytest.raises(DataError, match="2 problems"):
        call("validate", write(folder, tiny, tasks=tasks))
    with pytest.raises(ConfigError, match=r"study\.yaml:\d+: `training.max_stps`"):
        call("validate", write(folder, tiny, training={"max_stps": 1}))


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("missing", 0), ("problem", 1)])
def test_doctor_ends_with_1_where_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, state: Any, code: int
) -> None:
    finding = Finding(state, "thing", "found", "" if state == "ok" else "do this")
    monkeypatch.setattr(doctor, "examine", lambda network: [finding])
    assert call("doctor") == (code, finding.line() + "\n")
    ended, out = call("doctor", "--json")
    assert (ended, json.loads(out)) == (code, [finding.data()])
