"""One run: the files it keeps, the same numbers from the same seed, and failures that stay as rows."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import yaml
from tests.study.finished_run import events, finish, without_times
from tests.study.tiny_models import run_spec, study_values

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.tasks import load_task
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.evaluation import evaluate
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.running.run import run
from amplitune.study.settings.config import RunSpec
from amplitune.study.settings.study_file import load_study
from amplitune.study.stored.results import load_results


def test_the_files_of_a_run_are_those_of_the_design(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "qaa")
    folder = finish(spec, tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        *("run.resolved.yaml", "command.txt", "env.json", "metrics.jsonl", "predictions.jsonl"),
        *("modules.jsonl", "status.json", "adapter"),
    }
    assert RunSpec.parse(yaml.safe_load((folder / "run.resolved.yaml").read_text())) == spec
    status = json.loads((folder / "status.json").read_text())
    assert status.keys() == {"status", "reason", "started", "finished", "seconds"}
    assert (status["status"], status["reason"]) == ("done", None)
    environment = json.loads((folder / "env.json").read_text())
    assert environment["packages"]["peft"] == peft.__version__
    assert environment["threads"] == 1
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in events(folder):
        by_kind.setdefault(event["event"], []).append(event)
    assert [event["step"] for event in by_kind["train"]] == [2, 4]
    assert [event["step"] for event in by_kind["eval"]] == [1, 2, 3, 4]
    assert by_kind["train"][0].keys() == {
        *("event", "step", "tokens", "seconds", "loss", "learning_rate", "grad_norm"),
    }
    (test,) = by_kind["test"]
    assert test["examples"] == len((folder / "predictions.jsonl").read_text().splitlines()) == 4
    (efficiency,) = by_kind["efficiency"]
    assert efficiency["trainable_parameters"] == efficiency["angles"] + efficiency["classical_parameters"]
    assert efficiency["gradients_bytes"] >= 4 * efficiency["trainable_parameters"]
    assert efficiency["optimizer_bytes"] >= 8 * efficiency["trainable_parameters"]
    assert efficiency["weights_bytes"] >= 4 * efficiency["total_parameters"]
    assert efficiency["activations_bytes"] > 0
    modules = [json.loads(line) for line in (folder / "modules.jsonl").read_text().splitlines()]
    assert any("q_proj" in record["module"] for record in modules)
    assert all(record["relative_change"] > 0 for record in modules if "v_proj" in record["module"])
    weights = folder / "adapter" / "adapter_model.safetensors"
    assert efficiency["adapter_bytes"] == weights.stat().st_size
    assert efficiency["peak_memory_kind"] in ("resident", "cuda allocated")
    assert efficiency["peak_memory_bytes"] > efficiency["adapter_bytes"]


@pytest.mark.parametrize("model", ["llama", "bert"])
@pytest.mark.parametrize("method", ["full", "lora", "prefix", "sora", "qaa"])
def test_the_same_seed_gives_the_same_numbers(tiny: Path, tmp_path: Path, method: str, model: str) -> None:
    # Dropout draws numbers too.
    config = {"lora_dropout": 0.3} if method in ("lora", "sora") else {}
    spec = run_spec(tiny, {"method": method, "config": config}, model)
    first = finish(spec, tmp_path / "first")
    torch.rand(100)
    second = finish(spec, tmp_path / "second")
    assert without_times(first) == without_times(second)
    assert (first / "predictions.jsonl").read_bytes() == (second / "predictions.jsonl").read_bytes()
    other = finish(spec.model_copy(update={"seed": 1}), tmp_path / "first")
    losses = [[e["loss"] for e in events(folder) if e["event"] == "train"] for folder in (first, other)]
    assert losses[0] != losses[1]


def test_the_untouched_model_is_scored_and_not_trained(tiny: Path, tmp_path: Path) -> None:
    folder = finish(run_spec(tiny, "base"), tmp_path)
    assert [event["event"] for event in events(folder)] == ["test", "efficiency"]
    efficiency = events(folder)[1]
    assert efficiency["trainable_parameters"] == 0
    assert "step_seconds" not in efficiency
    assert not (folder / "adapter").exists()
    assert not (folder / "model").exists()


@pytest.mark.parametrize(
    ("method", "model"), [("lora", "llama"), ("qaa", "bert"), ("prefix", "llama"), ("sora", "gpt2")]
)
def test_a_stored_adapter_loads_with_peft_and_predicts_the_same(
    tiny: Path, tmp_path: Path, method: str, model: str
) -> None:
    spec = run_spec(tiny, method, model, training={"learning_rate": 3e-2})
    folder = finish(spec, tmp_path)
    task, tokenizer = load_task(spec.task), load_tokenizer(spec)
    base = load_model(spec, load_config(spec, tokenizer, task.labels))
    loaded = peft.PeftModel.from_pretrained(base, str(folder / "adapter"))
    rows = tokenize(task, spec.task, tokenizer)["test"]
    scores, predictions, _ = evaluate(loaded, tokenizer, task, task.test, rows, spec)
    stored = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert predictions == stored
    (test,) = (event for event in events(folder) if event["event"] == "test")
    assert {key: test[key] for key in scores} == scores


def test_a_fully_fine_tuned_model_is_kept_whole(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "full", training={"learning_rate": 1e-2})
    folder = finish(spec, tmp_path)
    task, tokenizer = load_task(spec.task), load_tokenizer(spec)
    stored = spec.model_copy(update={"model_name_or_path": str(folder / "model")})
    model = load_model(stored, load_config(stored, tokenizer, None))
    rows = tokenize(task, spec.task, tokenizer)["test"]
    scores, _, _ = evaluate(model, tokenizer, task, task.test, rows, spec)
    (test,) = (event for event in events(folder) if event["event"] == "test")
    assert test["perplexity"] == scores["perplexity"]


def test_adapters_need_not_be_kept(tiny: Path, tmp_path: Path) -> None:
    folder = finish(run_spec(tiny, "lora", save_adapters=False), tmp_path)
    assert not (folder / "adapter").exists()
    assert events(folder)[-1]["adapter_bytes"] > 0


def test_a_run_that_fails_stays_with_its_reason(tiny: Path, tmp_path: Path) -> None:
    training = {"learning_rate": 1e30, "max_grad_norm": 1e30, "logging_steps": 1, "eval_steps": 4}
    study = load_study_file(tiny, tmp_path, methods=["full"], training=training)
    (spec,) = study.runs()
    status = run(spec, tmp_path, tmp_path / "study.resolved.yaml")
    assert status["status"] == "failed"
    assert status["reason"].startswith("TrainingError: The training loss must be finite")
    folder = tmp_path / spec.folder
    assert (folder / "env.json").exists()
    table = load_results(tmp_path).table
    assert list(table["status"]) == ["failed"]
    assert table["reason"][0] == status["reason"]
    assert table["primary_value"].isna().all()


def test_a_task_that_cannot_be_read_leaves_no_folder(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "lora")
    absent = spec.task.model_copy(update={"train_file": "/no/such.jsonl"})
    with pytest.raises(DataError):
        run(spec.model_copy(update={"task": absent}), tmp_path, Path("study.yaml"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_never_overwritten(tiny: Path, tmp_path: Path) -> None:
    spec = run_spec(tiny, "base")
    folder = finish(spec, tmp_path)
    before = (folder / "status.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match="is there already"):
        run(spec, tmp_path, Path("study.yaml"))
    assert (folder / "status.json").stat().st_mtime_ns == before


def load_study_file(tiny: Path, folder: Path, **changes: Any) -> Any:
    path = folder / "study.resolved.yaml"
    path.write_text(yaml.safe_dump(study_values(tiny, **changes)), encoding="utf-8")
    return load_study(path)
