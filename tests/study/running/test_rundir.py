"""The folder of a run: complete or not there, never overwritten, its lines strict JSON."""

import json
import math
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import run_spec

from amplitune.errors import ConfigError
from amplitune.study.atomic import write_atomically
from amplitune.study.running.rundir import RunDirectory, partial_folder, read_progress
from amplitune.study.settings.config import RunSpec

STUDY = Path("some folder/study.yaml")


@pytest.fixture
def spec() -> RunSpec:
    return run_spec(Path("/models"), "lora", seeds=[3])


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_run_has_its_name_only_when_it_is_complete(tmp_path: Path, spec: RunSpec) -> None:
    final = tmp_path / "runs" / "pairs" / "lora" / "seed-3"
    folder = RunDirectory(tmp_path, spec, STUDY)
    folder.append("metrics.jsonl", {"event": "train", "step": 1})
    folder.progress("training", 1, 4)
    assert not final.exists()
    assert read_progress(partial_folder(tmp_path, spec)) == {"phase": "training", "done": 1, "total": 4}
    folder.complete({"status": "done"})
    assert sorted(path.name for path in final.parent.iterdir()) == ["seed-3"]
    assert sorted(path.name for path in final.iterdir()) == [
        "command.txt",
        "metrics.jsonl",
        "run.resolved.yaml",
        "status.json",
    ]
    with pytest.raises(ConfigError, match="is there already"):
        RunDirectory(tmp_path, spec, STUDY)
    assert strict((final / "status.json").read_text()) == {"status": "done"}


def test_what_an_interrupted_run_left_is_removed_or_taken_over(tmp_path: Path, spec: RunSpec) -> None:
    left = partial_folder(tmp_path, spec)
    RunDirectory(tmp_path, spec, STUDY).append("metrics.jsonl", {"step": 1})
    (left / "progress.json.partial-123").write_text("{")
    RunDirectory(tmp_path, spec, Path("other.yaml"), adopt=True).append("metrics.jsonl", {"step": 2})
    assert len((left / "metrics.jsonl").read_text().splitlines()) == 2
    assert "some folder" in (left / "command.txt").read_text()
    RunDirectory(tmp_path, spec, STUDY)
    assert not (left / "metrics.jsonl").exists()
    assert not (left / "progress.json.partial-123").exists()


def test_completing_removes_half_written_files(tmp_path: Path, spec: RunSpec) -> None:
    folder = RunDirectory(tmp_path, spec, STUDY)
    (folder.path / "progress.json.partial-123").write_text("{")
    folder.complete({"status": "failed"})
    assert {path.name for path in folder.final.iterdir()} == {
        "command.txt",
        "run.resolved.yaml",
        "status.json",
    }


def test_the_command_does_the_run_again_elsewhere(tmp_path: Path, spec: RunSpec) -> None:
    folder = RunDirectory(tmp_path, spec, STUDY, overrides=["training.max_steps=3", "name=a b"])
    assert shlex.split((folder.path / "command.txt").read_text()) == [
        *("amplitune", "train", "some folder/study.yaml", "training.max_steps=3", "name=a b"),
        *("--task", "pairs", "--method", "lora", "--seed", "3", "-o", "reproduced"),
    ]


def test_numbers_that_json_does_not_have_are_blank(tmp_path: Path, spec: RunSpec) -> None:
    folder = RunDirectory(tmp_path, spec, STUDY)
    folder.append("metrics.jsonl", {"loss": math.nan, "scores": [math.inf, 1.0], "é": -math.inf})
    folder.write("env.json", {"a": {"b": math.inf}})
    assert strict((folder.path / "metrics.jsonl").read_text()) == {
        "loss": None,
        "scores": [None, 1.0],
        "é": None,
    }
    assert strict((folder.path / "env.json").read_text()) == {"a": {"b": None}}


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_atomically(path, "old")

    def broken(self: Path, target: Path) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert {entry.name for entry in path.parent.iterdir()} <= {"file.txt", f"file.txt.partial-{os.getpid()}"}


def test_progress_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_progress(tmp_path) == {}
    (tmp_path / "progress.json").write_text('{"phase": "tr')
    assert read_progress(tmp_path) == {}
