"""A study on a tiny model whose methods are tuned by a few trials of two steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import study_values

from amplitune.study.settings.config import StudyConfig
from amplitune.study.tuning.job import tune

Tune = Callable[..., dict[str, Any]]


@pytest.fixture
def tiny_study(tiny: Path) -> Callable[..., StudyConfig]:
    """Make the study, with changes."""

    def make(**changes: Any) -> StudyConfig:
        values = {
            "tuning": {"trials": 4, "max_steps": 2},
            "training": {"max_steps": 3, "eval_steps": 1},
            **changes,
        }
        return StudyConfig.parse(study_values(tiny, **values))

    return make


@pytest.fixture
def tune_here(tmp_path: Path) -> Tune:
    """Tune a method of a study on its task, by default in an empty folder."""

    def call(study: StudyConfig, method: str = "lora", directory: Path = tmp_path, **options: Any) -> Any:
        return tune(study, study.tasks[0].name, method, directory, Path("study.yaml"), **options)

    return call
