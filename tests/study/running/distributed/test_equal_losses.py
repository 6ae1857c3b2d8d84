"""Two processes train to what one trains to with batches of twice the size, by replicas and by shards."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.study.tiny_models import run_spec
from torch.distributed import TCPStore  # type: ignore[attr-defined, unused-ignore]

from amplitune.study.methods.registry import find_method
from amplitune.study.running.checkpoints import newest
from amplitune.study.running.distributed.launch import HOST
from amplitune.study.running.distributed.shardable import SHARDABLE
from amplitune.study.running.run import run
from amplitune.study.settings.config import RunSpec
from amplitune.study.settings.study_file import to_yaml

pytestmark = pytest.mark.slow

SCHEDULE = {"sparse_lambda": 1e-2, "lambda_schedule": "linear", "lambda_num_steps": 6, "lambda_end": 1e-1}

# 16 examples in batches of 4: the second epoch begins at step 4. 4 examples of validation in batches of 3: of
# two processes one has the last example alone; in batches of 4 it has none.
TRAINING = {
    "max_steps": 6,
    "logging_steps": 1,
    "eval_steps": 3,
    "learning_rate": 1e-2,
    "per_device_eval_batch_size": 3,
    "weight_decay": 0.1,
}


@dataclass(frozen=True)
class Case:
    """A run that two processes do, and one does to compare."""

    distributed: str
    method: Any
    model: str = "llama"
    training: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"
    killed: bool = False

    @property
    def name(self) -> str:
        method = self.method if isinstance(self.method, str) else self.method["method"]
        changes = "".join(f"-{key}" for key, _ in self.training) + ("-killed" if self.killed else "")
        return f"{self.distributed}-{self.model}-{method}-{self.dtype}{changes}"

    def spec(self, folder: Path, processes: int) -> RunSpec:
        training = {**TRAINING, "per_device_train_batch_size": 4 // processes, **dict(self.training)}
        return run_spec(
            folder,
            self.method,
            self.model,
            training=training,
            dtype=self.dtype,
            processes_per_run=processes,
            distributed=self.distributed,
        )


SORA = {"method": "sora", "config": SCHEDULE}
SAVE = (("save_steps", 2), ("per_device_eval_batch_size", 4))
CASES = (
    *(Case("ddp", method) for method in ("full", "lora", "qaa", "prefix", "bias")),
    Case("ddp", SORA, training=(("gradient_accumulation_steps", 2),)),
    Case("ddp", "lora", "bert", (("gradient_accumulation_steps", 2),)),
    *(Case("fsdp", method) for method in ("full", "lora", "qaa")),
    Case("fsdp", SORA, training=(("gradient_accumulation_steps", 2),)),
    *(
        Case("fsdp", method, training=(("max_steps", 2), ("eval_steps", 2)))
        for method in ("prefix", "bias", "ia3", "vera", "oft", "loha", "lokr")
    ),
    # Embeddings inside of a module that transformers names as one not to be split.
    Case("fsdp", "full", "bert"),
    # The input embedding is the output embedding.
    Case("fsdp", "full", "gpt2", (("gradient_checkpointing", True),)),
    Case("ddp", "qaa", training=(("gradient_checkpointing", True),)),
    # Trained float32 beside frozen bfloat16.
    Case("fsdp", "lora", dtype="bfloat16"),
    Case("ddp", SORA, training=SAVE, killed=True),
    Case("fsdp", SORA, training=SAVE, killed=True),
    Case("fsdp", "full", training=SAVE, killed=True),
)


@pytest.fixture(scope="module")
def without_dropout(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each process draws its own dropout, so that two do not drop what one drops."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(tiny, folder)
    for name in ("bert", "gpt2"):
        path = folder / name / "config.json"
        config = json.loads(path.read_text())
        changed = {key: 0.0 for key, value in config.items() if "drop" in key and isinstance(value, float)}
        path.write_text(json.dumps(config | changed))
    return folder


@pytest.fixture(scope="module")
def by_two(without_dropout: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Does all cases in one group of two processes; gives the folder of each."""
    directory, jobs = tmp_path_factory.mktemp("two"), []
    for case in CASES:
        folder = directory / case.name
        folder.mkdir()
        (folder / "run.resolved.yaml").write_text(to_yaml(case.spec(without_dropout, 2)))
        jobs += [f"killed:{folder}"] * case.killed + [str(folder)]
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    logs = [directory / f"{rank}.log" for rank in range(2)]
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            **dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)),
            **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2"),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "MASTER_ADDR": HOST,
            "MASTER_PORT": str(store.port),
        }
        command = [
            sys.executable,
            "-m",
            "tests.study.running.distributed.worker",
            str(rank),
            "2",
            str(store.port),
        ]
        with logs[rank].open("wb") as log:
            processes.append(
                subprocess.Popen(
                    [*command, *jobs],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=Path(__file__).parents[4],
                )
            )
    try:
        codes = [process.wait(200) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert codes == [0, 0], "\n".join(log.read_text()[-3000:] for log in logs)
    return lambda case: directory / case.name


@pytest.fixture(scope="module")
def by_one(without_dropout: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Does a case in this process, once for replicas and shards."""
    folders: dict[str, Path] = {}

    def do(case: Case) -> Path:
        name = replace(case, distributed="ddp", killed=False).name
        if name not in folders:
            directory, spec = tmp_path_factory.mktemp("one"), case.spec(without_dropout, 1)
            assert run(spec, directory, Path("study.yaml"))["reason"] is None
            folders[name] = directory / spec.folder
        return folders[name]

    return do


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    found = [event for event in lines(folder / "metrics.jsonl") if event["event"] in kinds]
    return [{key: value for key, value in event.items() if key != "seconds"} for event in found]


def close(first: Any, second: Any, tolerance: float) -> None:
    """The same keys, words and counts, and numbers within the tolerance."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            close(first[key], second[key], tolerance)
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            close(one, other, tolerance)
    elif isinstance(first, float):
        assert first == pytest.approx(second, rel=tolerance, abs=tolerance)
    else:
        assert first == second


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_processes_train_to_what_one_does(
    by_two: Callable[[Case], Path], by_one: Callable[[Case], Path], case: Case
) -> None:
    two, one = by_two(case), by_one(case)
    # bfloat16 has 8 bits: a sum in another order is another number now and then.
    tolerance = 1e-5 if case.dtype == "float32" else 1e-3
    assert len(events(two, "train")) == dict(case.training).get("max_steps", 6)
    close(events(two, "train", "eval"), events(one, "train", "eval"), tolerance)
    close(events(two, "test"), events(one, "test"), 10 * tolerance)
    close(lines(two / "predictions.jsonl"), lines(one / "predictions.jsonl"), 10 * tolerance)
    (trained,) = one.glob("*/*.safetensors")
    expected, found = load_file(trained), load_file(two / trained.relative_to(one))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=10 * tolerance, atol=10 * tolerance)
    assert {path.name for path in (two / trained.relative_to(one)).parent.iterdir()} == {
        path.name for path in trained.parent.iterdir()
    }


@pytest.mark.parametrize("case", [case for case in CASES if case.method == SORA], ids=lambda case: case.name)
def test_the_proximal_step_zeroes_the_same_gates(
    by_two: Callable[[Case], Path], by_one: Callable[[Case], Path], case: Case
) -> None:
    (two,), (one,) = (folder.glob("adapter/*.safetensors") for folder in (by_two(case), by_one(case)))
    expected = {name: gate == 0 for name, gate in load_file(one).items() if "sora_gate" in name}
    assert len(expected) == 4
    assert any(zero.any() for zero in expected.values())
    found = load_file(two)
    assert all(torch.equal(found[name] == 0, zero) for name, zero in expected.items())


def test_every_method_that_is_trained_in_shards_is_compared() -> None:
    names = [
        case.method if isinstance(case.method, str) else case.method["method"]
        for case in CASES
        if case.distributed == "fsdp"
    ]
    kinds = {find_method(name).peft_type for name in names} - {None}
    assert kinds == set(SHARDABLE)
    assert len(kinds) == 10


def test_each_process_holds_its_shard(by_two: Callable[[Case], Path]) -> None:
    (shard,) = events(by_two(Case("fsdp", "full")), "efficiency")
    (replica,) = events(by_two(Case("ddp", "full")), "efficiency")
    for part in ("weights_bytes", "gradients_bytes", "optimizer_bytes"):
        assert 0.4 * replica[part] < shard[part] < 0.6 * replica[part]
    assert shard["total_parameters"] == replica["total_parameters"]
    assert shard["adapter_bytes"] == replica["adapter_bytes"]


def test_a_killed_run_went_on_from_its_checkpoint(by_two: Callable[[Case], Path]) -> None:
    killed = [case for case in CASES if case.killed]
    assert len(killed) == 3
    for case in killed:
        checkpoint = newest(by_two(case))
        assert checkpoint is not None
        assert checkpoint.step == 6
        steps = [event["step"] for event in events(by_two(case), "train")]
        assert steps == [1, 2, 3, 4, 5, 6], "its events up to the kill, cut at the checkpoint, and after it"
