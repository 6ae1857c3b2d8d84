"""A run killed at any step goes on from its last checkpoint to the numbers of a run that was never killed."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.study.finished_run import events, finish, without_times
from tests.study.tiny_models import run_spec

from amplitune.errors import ConfigError
from amplitune.study.running.checkpoints import COMPLETE, newest
from amplitune.study.running.run import run
from amplitune.study.running.rundir import RunDirectory, partial_folder
from amplitune.study.running.trainers import WEIGHTS
from amplitune.study.settings.config import RunSpec

# 16 examples in batches of 4: the second epoch begins at step 4.
TRAINING = {"max_steps": 7, "logging_steps": 2, "eval_steps": 3, "save_steps": 2, "learning_rate": 1e-2}
SCHEDULE = {"sparse_lambda": 1e-3, "lambda_schedule": "linear", "lambda_num_steps": 6, "lambda_end": 1e-1}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"method": "full"}),
    ("llama", {"method": "lora", "config": {"lora_dropout": 0.3}}),
    ("llama", {"method": "prefix", "config": {"num_virtual_tokens": 3}}),
    ("llama", {"method": "prefix", "config": {"prefix_projection": True, "encoder_hidden_size": 8}}),
    ("llama", {"method": "sora", "config": {"lora_dropout": 0.3, **SCHEDULE}}),
    ("llama", {"method": "qaa"}),
    ("bert", {"method": "full"}),
    ("bert", {"method": "lora"}),
    ("bert", {"method": "sora", "config": SCHEDULE}),
    ("bert", {"method": "qaa"}),
]


class Killed(BaseException):
    """What stands for the end of a process: nothing catches it."""


def kill(spec: RunSpec, directory: Path, phase: str, step: int = 0) -> Path:
    """Do a run until it says that it is there, and leave it as a killed process does."""
    say = RunDirectory.progress

    def progress(self: RunDirectory, now: str, done: int = 0, total: int = 0) -> None:
        say(self, now, done, total)
        if (now, done) == (phase, step):
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "progress", progress)
        with pytest.raises(Killed):
            run(spec, directory, Path("study.yaml"))
    gc.collect()  # the lock ends with its file
    return partial_folder(directory, spec)


def step_of(partial: Path) -> int | None:
    checkpoint = newest(partial)
    return None if checkpoint is None else checkpoint.step


@pytest.mark.parametrize(("model", "method"), CASES)
def test_a_run_killed_again_and_again_ends_as_one_never_killed(
    tiny: Path, tmp_path: Path, model: str, method: dict[str, Any]
) -> None:
    spec = run_spec(tiny, method, model, training=TRAINING)
    never = finish(spec, tmp_path / "never")
    killed = tmp_path / "killed"
    assert step_of(kill(spec, killed, "training", 1)) is None
    assert step_of(kill(spec, killed, "training", 3)) == 2
    assert step_of(kill(spec, killed, "training", 5)) == 4
    assert step_of(kill(spec, killed, "evaluating")) == 7
    torch.rand(100)
    folder = finish(spec, killed)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert {path.name for path in folder.iterdir()} == {path.name for path in never.iterdir()}
    assert without_times(folder) == without_times(never)
    assert (folder / "predictions.jsonl").read_bytes() == (never / "predictions.jsonl").read_bytes()
    (weights,) = never.glob("*/*.safetensors")
    first, second = load_file(weights), load_file(folder / weights.relative_to(never))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_steps_of_several_batches_and_a_schedule_with_warm_up(tiny: Path, tmp_path: Path) -> None:
    training = {
        **TRAINING,
        "gradient_accumulation_steps": 3,
        "per_device_train_batch_size": 2,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 3,
        "weight_decay": 0.1,
    }
    spec = run_spec(tiny, {"method": "sora", "config": SCHEDULE}, training=training)
    never = finish(spec, tmp_path / "never")
    for step in (3, 4, 6):
        kill(spec, tmp_path / "killed", "training", step)
    assert without_times(finish(spec, tmp_path / "killed")) == without_times(never)


def test_the_untouched_model_begins_again(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "base")
    kill(spec, tmp_path / "killed", "evaluating")
    folder = finish(spec, tmp_path / "killed")
    assert without_times(folder) == without_times(finish(spec, tmp_path / "never"))


def test_times_are_the_sums_over_the_parts(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "lora", training=TRAINING)
    partial = kill(spec, tmp_path, "training", 5)
    checkpoint = newest(partial)
    assert checkpoint is not None
    assert len(checkpoint.kept["clock"]["step_seconds"]) == 4
    # As if the first part had been slow, large, and a while ago.
    kept = {
        "clock": {"step_seconds": [100.0] * 4},
        "folder": {"started": "2001-01-01T00:00:00+00:00", "seconds": 1000.0},
        "peak_memory": {"bytes": 1 << 50},
    }
    (checkpoint.path / COMPLETE).write_text(json.dumps({"step": 4, "kept": {**checkpoint.kept, **kept}}))
    folder = finish(spec, tmp_path)
    status = json.loads((folder / "status.json").read_text())
    assert status["started"] == "2001-01-01T00:00:00+00:00"
    assert 1000 < status["seconds"] < 1100
    seconds = [event["seconds"] for event in events(folder) if event["event"] == "train"]
    assert seconds == sorted(seconds)
    assert seconds[1] < 100 < 400 < seconds[2] < 500
    efficiency = events(folder)[-1]
    assert 400 < efficiency["train_seconds"] < 500
    assert efficiency["peak_memory_bytes"] == 1 << 50


def test_what_torch_saved_is_loaded_as_weights_only(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = run_spec(tiny, "lora", training=TRAINING)
    partial = kill(spec, tmp_path, "training", 3)
    pickles = {path.name for path in partial.rglob("*.p*") if path.suffix in (".pt", ".pth", ".pkl")}
    assert pickles == {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    assert not list(partial.rglob("*.bin"))
    loaded = []
    load = torch.load

    def recorded(file: Any, *args: Any, **options: Any) -> Any:
        loaded.append((Path(file).name, options["weights_only"]))
        return load(file, *args, **options)

    monkeypatch.setattr(torch, "load", recorded)
    finish(spec, tmp_path)
    assert sorted(loaded) == sorted((name, True) for name in pickles)


def test_a_half_written_checkpoint_is_not_taken(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "lora", training=TRAINING)
    partial = kill(spec, tmp_path, "training", 5)
    complete = newest(partial)
    assert complete is not None
    half = complete.path.with_name("checkpoint-6")
    half.mkdir()
    (half / WEIGHTS).write_bytes((complete.path / WEIGHTS).read_bytes()[:-10])
    assert newest(partial) == complete
    assert without_times(finish(spec, tmp_path)) == without_times(finish(spec, tmp_path / "never"))


def test_only_the_newest_complete_checkpoint_is_kept(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "lora", training=TRAINING)
    partial = kill(spec, tmp_path, "training", 7)
    assert [path.name for path in (partial / "checkpoints").iterdir()] == ["checkpoint-6"]


def test_a_run_with_other_settings_or_packages_begins_again(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "lora", training=TRAINING)
    kill(spec, tmp_path, "training", 3)
    other = run_spec(tiny, "lora", training={**TRAINING, "learning_rate": 1e-3})
    assert RunDirectory(tmp_path, other, Path("study.yaml")).checkpoint is None
    kill(spec, tmp_path, "training", 3)
    same = run_spec(tiny, "lora", training=TRAINING, threads=2)
    assert RunDirectory(tmp_path, same, Path("study.yaml")).checkpoint is not None
    partial = kill(spec, tmp_path, "training", 3)
    environment = json.loads((partial / "env.json").read_text())
    environment["packages"]["torch"] = "0.1"
    (partial / "env.json").write_text(json.dumps(environment))
    assert RunDirectory(tmp_path, spec, Path("study.yaml")).checkpoint is None


def test_short_runs_write_no_checkpoint_unless_told(tiny: Path, tmp_path: Path) -> None:
    training = {key: value for key, value in TRAINING.items() if key != "save_steps"}
    spec = run_spec(tiny, "lora", training=training)
    assert not list((kill(spec, tmp_path, "training", 7) / "checkpoints").iterdir())


def test_a_checkpoint_is_taken_after_a_while(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amplitune.study.running.checkpoints.INTERVAL_SECONDS", 0.0)
    training = {key: value for key, value in TRAINING.items() if key != "save_steps"}
    spec = run_spec(tiny, "lora", training=training)
    assert step_of(kill(spec, tmp_path, "training", 3)) == 2


def test_a_run_is_done_by_one_process_at_a_time(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "base")
    holder = RunDirectory(tmp_path, spec, Path("study.yaml"))
    with pytest.raises(ConfigError, match="another one is doing it"):
        run(spec, tmp_path, Path("study.yaml"))
    assert holder.path.exists()
    del holder
    finish(spec, tmp_path)
