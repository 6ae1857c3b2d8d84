"""The command line for tests: in a process that may not reach for the network, or in this one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.tiny_models import study_values

from amplitune import cli

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
