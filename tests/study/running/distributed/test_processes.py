"""What the processes of a run share: threads, GPUs, and none where nothing is trained."""

from pathlib import Path

import pytest
import torch
from tests.study.tiny_models import run_spec, study_values

from amplitune.errors import ConfigError
from amplitune.study.execution.executors.admission import PROCESS_BYTES, memory_of
from amplitune.study.running.distributed import energy, group
from amplitune.study.running.distributed.processes import (
    check_gpus,
    gpus_of_run,
    openmp,
    processes_of,
    threads_of,
)
from amplitune.study.settings.config import StudyConfig


def test_a_run_that_trains_nothing_has_one_process(tmp_path: Path) -> None:
    assert processes_of(run_spec(tmp_path, "base", processes_per_run=3)) == 1
    assert processes_of(run_spec(tmp_path, "lora", processes_per_run=3)) == 3
    assert processes_of(run_spec(tmp_path, "lora")) == 1


def test_the_threads_of_a_run_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    for threads, each, variable in ((8, 4, "4"), (1, 1, "1"), (None, None, "6")):
        spec = run_spec(tmp_path, "lora", processes_per_run=2, threads=threads)
        assert threads_of(spec) == each
        assert openmp(spec) == {"OMP_NUM_THREADS": variable}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert openmp(run_spec(tmp_path, "lora", processes_per_run=2, threads=None)) == {}


def test_each_process_has_a_gpu(tmp_path: Path) -> None:
    for processes, asked, gpus in ((1, 1, 1), (1, 0.5, 0.5), (2, 1, 2), (2, 4, 4), (2, 0, 0)):
        values = study_values(tmp_path, processes_per_run=processes, gpus_per_run=asked)
        assert gpus_of_run(StudyConfig.parse(values)) == gpus


def test_more_processes_than_gpus_are_refused() -> None:
    check_gpus(4, gpus=4)
    check_gpus(4, gpus=0)
    with pytest.raises(ConfigError, match=r"`processes_per_run` must be at most .* 2, but is 4\. Lower it"):
        check_gpus(4, gpus=2)


def test_each_process_takes_memory_beside_the_one_that_starts_them() -> None:
    assert memory_of(10) == PROCESS_BYTES + 10
    assert memory_of(10, processes=3) == 4 * PROCESS_BYTES + 30


@pytest.mark.parametrize(
    ("cuda", "joules", "resumed", "expected"),
    [(False, 5.0, False, 5.0), (True, 5.0, False, 15.0), (True, None, False, None), (True, 5.0, True, None)],
)
def test_the_energy_of_several_gpus_is_their_sum(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, joules: float | None, resumed: bool, expected: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(group, "size", lambda: 3)
    monkeypatch.setattr(group, "total", lambda values: [3 * value for value in values])
    assert energy.joules_of_all(joules, resumed) == expected
