"""Wrong input on the command line: exit code 2 and one message, before weights are loaded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.command_line import InProcess, write_study
from tests.study.tiny_models import task_values, write_rows

from amplitune import __version__
from amplitune.commands import options
from amplitune.study.running import models


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "`--method` must be one of lora, qaa, but is missing"),
        (["--method", "sora"], "`--method` must be one of lora, qaa, but is 'sora'"),
        (["--method", "qaa", "--task", "x"], "`--task` must be one of pairs, but is 'x'"),
        (["--method", "qaa", "--seed", "7"], "`--seed` must be one of 0, but is 7"),
    ],
)
def test_a_run_that_the_study_does_not_have(
    tiny: Path, tmp_path: Path, command: InProcess, given: list[str], message: str
) -> None:
    study = write_study(tmp_path, tiny, methods=["lora", "qaa"])
    code, _, stderr = command("train", str(study), *given)
    assert code == options.USAGE
    assert stderr.startswith(f"error: {message}")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if weights are loaded or a process is started."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the check came too late")

    monkeypatch.setattr(models, "load_model", refuse)
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    monkeypatch.setattr("amplitune.study.execution.executors.local.subprocess.Popen", refuse)
    yield


MISUSES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], str]] = {
    # what it is: changes of the study, changes of its task, arguments, part of the message
    "unknown key": ({"sedes": [1]}, {}, [], "`sedes` is not a key"),
    "unknown key of a task": ({}, {"max_lenght": 1}, [], "`tasks.0.max_lenght` is not a key"),
    "unknown key in an override": ({}, {}, ["training.max_step=1"], "`training.max_step` is not a key"),
    "no override": ({}, {}, ["other.yaml"], "must have the form key=value"),
    "unknown method": ({"methods": ["lorra"]}, {}, [], "`method` must be one of"),
    "unknown adapter setting": (
        {},
        {},
        ["methods.0={method: qaa, config: {qubits: 3}}"],
        "`methods.0.config.qubits`",
    ),
    "missing file": ({}, {"test_file": "absent.jsonl"}, [], "absent.jsonl"),
    "missing column": ({}, {"columns": {"prompt": "promt"}}, [], "promt"),
    "target module that matches nothing": (
        {"methods": [{"method": "qaa", "config": {"target_modules": ["query"]}}]},
        {},
        [],
        "query",
    ),
    "empty dataset": ({}, {"train_file": "empty.jsonl"}, [], "empty.jsonl"),
    "answer cut away entirely": ({}, {"max_length": 4}, [], "`max_length`"),
    "unknown model path": ({"model_name_or_path": "./absent"}, {}, [], "`model_name_or_path`"),
    "model path without a model": ({"model_name_or_path": "."}, {}, [], "`model_name_or_path`"),
    "generation beyond the context": ({}, {"max_new_tokens": 60}, [], "`max_new_tokens`"),
    "BERTScore without an encoder": ({}, {"metrics": ["bertscore_f1"]}, [], "`bertscore_model`"),
}


@pytest.mark.parametrize("name", MISUSES)
def test_wrong_input_is_one_message_before_weights_are_loaded(
    tiny: Path, tmp_path: Path, command: InProcess, no_weights: None, name: str
) -> None:
    study, task, arguments, message = MISUSES[name]
    write_rows(tmp_path / "empty.jsonl", [])
    path = write_study(tmp_path, tiny, tasks=[task_values(tiny, **task)], **study)
    code, stdout, stderr = command("compare", str(path), *arguments, "-o", "out")
    assert code == options.USAGE
    assert stdout == ""
    assert stderr.count("error: ") == 1
    # Remarks on the data may come before the message.
    assert message in stderr[stderr.index("error: ") :]
    assert "Traceback" not in stderr
    assert not (tmp_path / "out").exists()


def test_the_misuses_of_the_requirements_are_all_here() -> None:
    assert len(MISUSES) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare"], "`STUDY.yaml` must be given"),
        (["compare", "training.max_steps=1"], "`STUDY.yaml` must be given"),
        (["compare", "absent.yaml"], "absent.yaml is not there"),
        (["report", "absent"], "is not a folder"),
        (["train", "absent.yaml", "--method", "lora"], "absent.yaml is not there"),
    ],
)
def test_arguments_that_lead_nowhere(command: InProcess, arguments: list[str], message: str) -> None:
    code, _, stderr = command(*arguments)
    assert code == options.USAGE
    assert stderr.startswith("error: ")
    assert message in stderr


def test_options_that_are_not_there(command: InProcess) -> None:
    code, _, stderr = command("compare", "--dem")
    assert code == options.USAGE
    assert "--demo" in stderr


def test_version_and_help(command: InProcess) -> None:
    code, stdout, _ = command("--version")
    assert code == options.DONE
    assert stdout.strip() == __version__
    code, stdout, _ = command("train", "--help")
    assert code == options.DONE
    assert "supervised" not in stdout
