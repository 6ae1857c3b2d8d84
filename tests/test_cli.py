"""The command line as a user meets it: a whole study, its resumption, and every kind of wrong input."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from tests.study.tiny_models import study_values, task_values, write_rows

from amplitune import __version__, cli
from amplitune.study import models

GUARD = Path(__file__).parent / "offline"


def environment(folder: Path) -> dict[str, str]:
    """Of a process that may not reach for the network, though nothing tells it so."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return kept | {
        "PYTHONPATH": str(GUARD),
        "AMPLITUNE_TEST_ATTEMPTS": str(folder / "attempts.log"),
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(folder / "hf"),
    }


def amplitune(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "amplitune", *arguments],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def write_study(folder: Path, tiny: Path, **changes: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study_values(tiny, **changes)), encoding="utf-8")
    return path


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
    assert compared.first.returncode == cli.SOME_FAILED, compared.first.stderr
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


class InProcess:
    """The command line in this process, for what needs no process of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run it.

        Returns:
            exit code, standard output, standard error
        """
        self.monkeypatch.setattr(sys, "argv", ["amplitune", *arguments])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *self.capsys.readouterr())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> InProcess:
    monkeypatch.chdir(tmp_path)
    return InProcess(monkeypatch, capsys)


def test_a_second_compare_repeats_nothing(compared: Compared, command: InProcess) -> None:
    before = compared.files()
    study, out = str(compared.folder / "study.yaml"), str(compared.folder / "out")
    code, stdout, stderr = command("compare", study, "-o", out)
    assert code == cli.SOME_FAILED
    assert compared.files() == before
    assert "Nothing is missing." in stderr
    assert "qaa" in stdout
    code, _, stderr = command("compare", study, "-o", out, "training.max_steps=5")
    assert code == cli.USAGE
    assert "`training.max_steps` differ" in stderr
    assert compared.files() == before


def test_the_report_again_from_stored_results(compared: Compared, command: InProcess, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(compared.folder / "out", out)
    (out / "report.html").unlink()
    code, stdout, stderr = command("report", str(out), "--json")
    assert code == cli.DONE
    assert strict(stdout) == strict(compared.first.stdout)
    assert (out / "report.html").stat().st_size > 10_000
    code, stdout, _ = command("report", str(out))
    assert code == cli.DONE
    assert "qaa" in stdout
    code, _, stderr = command("report", str(tmp_path))
    assert code == cli.USAGE
    assert stderr.startswith("error: `directory` must be the folder of a study")


def test_the_command_of_a_row_gives_its_numbers_again(compared: Compared) -> None:
    row = next(row for row in strict(compared.first.stdout) if row["method"] == "qaa")
    program, *arguments = shlex.split(row["command"])
    assert program == "amplitune"
    again = amplitune(*arguments, cwd=compared.folder)
    assert again.returncode == cli.DONE, again.stderr
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
    assert code == cli.FAILED
    assert "TrainingError" in stderr
    code, _, stderr = command("train", str(study), "--method", "full", "-o", "out")
    assert code == cli.USAGE
    assert "is there already" in stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "`--method` must be one of lora, qaa, but is missing"),
        (["--method", "sora"], "`--method` must be one of lora, qaa, but is 'sora'"),
        (["--method", "qaa", "--task", "x"], "`--task` must be one of pairs, but is 'x'"),
        (["--method", "qaa", "--seed", "7"], "`--seed` must be one of 0, but is 7"),
    ],
)
def test_a_run_that_the_study_does_not_have(
    tiny: Path, tmp_path: Path, command: InProcess, options: list[str], message: str
) -> None:
    study = write_study(tmp_path, tiny, methods=["lora", "qaa"])
    code, _, stderr = command("train", str(study), *options)
    assert code == cli.USAGE
    assert stderr.startswith(f"error: {message}")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if weights are loaded or a process is started."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the check came too late")

    monkeypatch.setattr(models, "load_model", refuse)
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)
    monkeypatch.setattr("amplitune.study.execute.subprocess.Popen", refuse)
    yield


MISUSES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str], str]] = {
    # what it is: changes of the study, changes of its task, arguments, part of the message
    "unknown key": ({"sedes": [1]}, {}, [], "`sedes` is not a key"),
    "unknown key of a task": ({}, {"max_lenght": 1}, [], "`tasks.0.max_lenght` is not a key"),
    "unknown key in an override": ({}, {}, ["training.max_step=1"], "`training.max_step` is not a key"),
    "no override": ({}, {}, ["other.yaml"], "must have the form key=value"),
    "unknown method": ({"methods": ["lorra"]}, {}, [], "`method` must be one of"),
    "unknown adapter setting": ({}, {}, ["methods.0={method: qaa, config: {qubits: 3}}"], "`config.qubits`"),
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
    assert code == cli.USAGE
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
    assert code == cli.USAGE
    assert stderr.startswith("error: ")
    assert message in stderr


def test_options_that_are_not_there(command: InProcess) -> None:
    code, _, stderr = command("compare", "--dem")
    assert code == cli.USAGE
    assert "--demo" in stderr


def test_version_and_help(command: InProcess) -> None:
    code, stdout, _ = command("--version")
    assert code == cli.DONE
    assert stdout.strip() == __version__
    code, stdout, _ = command("train", "--help")
    assert code == cli.DONE
    assert "supervised" not in stdout


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_ctrl_c_ends_the_study_and_the_next_compare_completes_it(
    tiny: Path, tmp_path: Path, command: InProcess
) -> None:
    write_study(tmp_path, tiny, methods=["base"], tasks=[task_values(tiny)])
    partial = tmp_path / "out" / "runs" / "pairs" / "base" / "seed-0.partial"
    arguments = [sys.executable, "-m", "amplitune", "compare", "study.yaml", "-o", "out"]
    for name, code in (("SIGTERM", -signal.SIGTERM), ("SIGINT", cli.INTERRUPTED)):
        with subprocess.Popen(
            arguments,
            cwd=tmp_path,
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert wait_for(lambda p=process: children_of(p.pid))
            children = children_of(process.pid)
            if name == "SIGINT":
                # As a terminal does it: to every process of the group.
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.terminate()
            stderr = process.communicate(timeout=120)[1]
        assert process.returncode == code
        assert children
        assert wait_for(lambda pids=children: not any(map(alive, pids)))
        assert "Traceback" not in stderr
        if name == "SIGINT":
            assert "interrupted; the same command goes on where it stopped" in stderr
        assert not partial.with_name("seed-0").exists()
    finished, _, _ = command("compare", "study.yaml", "-o", "out")
    assert finished == cli.DONE
    assert {path.name for path in partial.parent.iterdir()} == {"seed-0"}
