"""A study's folder for tests of the execution, in which processes without a model stand for the units."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.study.tiny_models import study_values

from amplitune.study.execution import schedule, units
from amplitune.study.execution.execute import execute
from amplitune.study.execution.progress import Progress
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.settings.study_file import to_yaml
from amplitune.study.stored.results import load_results
from amplitune.study.tuning.chosen import spaces_of, what_is_tuned, with_settings

FAKE = Path(__file__).parent / "fake_run.py"
FAKE_TUNING = Path(__file__).parent / "fake_tuning.py"

Names = list[str]


class Bench:
    """A study's folder in which each run is a process that does what its method's name says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.side = folder / "study", folder
        self.marker = folder / "started.txt"
        self.output = io.StringIO()
        self.behaviours: dict[str, str] = {}
        self.chosen: dict[str, dict[str, Any]] = {}

    def study(self, *names: str, **changes: Any) -> StudyConfig:
        methods = [{"method": "lora", "name": name} for name in names]
        values = study_values(Path("/models"), methods=methods, **changes)
        study = StudyConfig.parse(values)
        return study.model_copy(update={"tasks": [task.resolved("generation") for task in study.tasks]})

    def command(self, spec: RunSpec, directory: Path) -> Sequence[str]:
        resolved = self.side / f"{spec.method.name}-{spec.seed}.yaml"
        # What `amplitune train` would find when it runs.
        tunable, settings = bool(spaces_of(spec)), self.chosen.get(spec.method.name)
        resolved.write_text(to_yaml(with_settings(spec, settings) if tunable and settings else spec))
        behaviour = self.behaviours.get(spec.method.name, spec.method.name)
        final = str(directory / spec.folder)
        return [sys.executable, "-S", str(FAKE), final, str(resolved), behaviour, str(self.marker)]

    def tune_command(self, spec: RunSpec, directory: Path) -> Sequence[str]:
        name = spec.method.name
        content = self.side / f"{name}-chosen.json"
        content.write_text(json.dumps({"run": what_is_tuned(spec), "settings": self.chosen.get(name)}))
        content.with_suffix(".yaml").write_text(to_yaml(spec.model_copy(update={"trial": 0})))
        chosen = str(units.chosen_file(spec, directory))
        return [sys.executable, "-S", str(FAKE_TUNING), chosen, str(content), name, str(self.marker)]

    def compare(self, study: StudyConfig, progress: Progress | None = None, **options: Any) -> Names:
        """Execute, and give the names of the methods that were started."""
        self.marker.write_text("")
        execute(study, self.folder, progress or Progress(Console(file=self.output, width=200)), **options)
        return [line.split()[0] for line in self.marker.read_text().splitlines()]

    def run(self, method: str, seed: int = 0) -> Path:
        return self.folder / "runs" / "pairs" / method / f"seed-{seed}"

    def files(self) -> dict[str, int]:
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(self.folder)): path.stat().st_mtime_ns for path in found}

    def statuses(self) -> Mapping[str, str | None]:
        table = load_results(self.folder).table
        return dict(zip(table["method"], table["reason"], strict=True))


def make_bench(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose units are the fakes."""
    bench = Bench(folder)
    monkeypatch.setattr(units, "run_command", bench.command)
    monkeypatch.setattr(units, "tune_command", bench.tune_command)
    monkeypatch.setattr(schedule, "POLL_SECONDS", 0.01)
    return bench
