"""The probe of time: what it extrapolates to, and that it leaves the process as it was."""

from pathlib import Path

import pytest
import torch
from tests.study.tiny_models import study_values, task_values

from amplitune.study.planning import time_probe
from amplitune.study.planning.preflight import check_tasks
from amplitune.study.planning.time_probe import RunTime, probe_time
from amplitune.study.running.generation import Generation
from amplitune.study.settings.config import StudyConfig


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests the start of a process."""
    monkeypatch.setattr(time_probe, "_process_seconds", lambda: 4.0)


def test_a_run_is_the_sum_of_its_parts() -> None:
    taken = RunTime(start=10.0, step=0.5, loss=2.0, test=30.0, tuning=7.0)
    assert taken.run(20, 3) == 10 + 20 * 0.5 + 3 * 2 + 30
    assert taken.run(4, 1, trial=True) == 10 + 4 * 0.5 + 2 + 7


@pytest.mark.parametrize("method", ["full", "prefix", "qaa", "sora"])
@pytest.mark.parametrize("model", ["llama", "bert"])
def test_it_leaves_the_process_as_it_was(tiny: Path, model: str, method: str) -> None:
    values = study_values(tiny, model, methods=[method], threads=2)
    values["training"] |= {"gradient_checkpointing": True, "gradient_accumulation_steps": 2}
    _, (checked,) = check_tasks(StudyConfig.parse(values), lambda _: None)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    taken = probe_time(checked.runs[0], checked)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert taken.start > 4
    assert min(taken.step, taken.loss, taken.test, taken.tuning) > 0


def test_generation_is_extrapolated_to_the_last_token(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that takes 3 s and 0.5 s a token, 40 tokens, and two batches for four prompts."""

    def generate(*_args: object, max_new_tokens: int, **_options: object) -> Generation:
        return Generation([], 0, 3.0 + 0.5 * (max_new_tokens - 1))

    monkeypatch.setattr(time_probe, "generate", generate)
    task = task_values(tiny, max_new_tokens=40, metrics=["rougeL"])
    values = study_values(tiny, tasks=[task], methods=["base"])
    values["training"] |= {"per_device_eval_batch_size": 3}
    _, (checked,) = check_tasks(StudyConfig.parse(values), lambda _: None)
    assert probe_time(checked.runs[0], checked).test == pytest.approx(2 * (3 + 39 * 0.5))
