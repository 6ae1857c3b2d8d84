"""A synthetic study folder: invented numbers in the layout that a real comparison leaves behind."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.report.rich_study import rich_results

from amplitune.study.statistics.findings import Findings, findings
from amplitune.study.stored.results import Results, load_results

METHODS = ("base", "full", "lora", "qaa")
SEEDS = (0, 1)
HOSTILE = '<script>alert("x")</script> & <b>bold</b>'  # what a model may well generate
# Invented: quality of seed 0 on each task, trainable parameters, angles, adapter bytes, step seconds.
INVENTED = {
    "base": (4.0, 0.48, 0, 0, None, None),
    "full": (31.5, 0.91, 1_315_328, 0, 5_263_104, 0.0182),
    "lora": (28.25, 0.87, 20_480, 0, 84_120, 0.0121),
    "qaa": (22.0, 0.83, 12_356, 68, 51_024, 0.0309),
}
TASKS: list[dict[str, Any]] = [
    {"name": "data-to-text", "kind": "generation", "primary_metric": "bleu", "max_length": 128},
    {"name": "sentiment", "kind": "classification", "primary_metric": "accuracy", "max_length": 64},
]
FAILED = ("sentiment", "lora", 1)
REASON = "OutOfMemoryError: synthetic failure, 3.2 GB asked for and 1.1 GB free"


def write_study(directory: Path) -> Path:
    """Write 2 tasks x 4 methods x 2 seeds with one failed run and one run in flight beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    study = {
        "name": "synthetic study",
        "description": "Invented numbers that exercise the report.",
        "model_name_or_path": "zoo:llama",
        "tasks": TASKS,
        "methods": [{"method": name, "name": name, "config": {}, "training": {}} for name in METHODS],
        "seeds": list(SEEDS),
        "training": {"max_steps": 100, "per_device_train_batch_size": 8},
    }
    (directory / "study.resolved.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    for task in TASKS:
        for method in METHODS:
            for seed in SEEDS:
                write_run(directory, task, method, seed)
    in_flight = directory / "runs/sentiment/prefix/seed-0"
    in_flight.mkdir(parents=True)
    (in_flight / "metrics.jsonl").write_text('{"event": "train", "step": 10, "loss": 2.0}\n')
    return directory


def write_run(directory: Path, task: dict[str, Any], method: str, seed: int) -> Path:
    """Write the folder of one synthetic run."""
    folder = directory / "runs" / task["name"] / method / f"seed-{seed}"
    folder.mkdir(parents=True)
    failed = (task["name"], method, seed) == FAILED
    command = f"amplitune train study.yaml --task {task['name']} --method {method} --seed {seed}"
    (folder / "command.txt").write_text(command + "\n")
    environment: dict[str, Any] = {
        "python": "3.11.0",
        "platform": "Synthetic-1.0",
        "cpu": "Invented CPU",
        "cores": 2,
        "threads": 1,
    }
    environment |= {"packages": {"torch": "2.8.0", "peft": "0.19.0"}, "device": "cpu"}
    (folder / "env.json").write_text(json.dumps(environment))
    events = [] if method == "base" else training_events(method, seed)
    if not failed:
        events += result_events(task["kind"], method, seed)
        write_lines(folder / "predictions.jsonl", predictions(task["kind"], method))
    write_lines(folder / "metrics.jsonl", events[:6] if failed else events)
    status = {"status": "failed" if failed else "done", "reason": REASON if failed else None, "seconds": 12.5}
    (folder / "status.json").write_text(json.dumps(status))
    (folder / "log.txt").write_text("synthetic log\n")
    return folder


def training_events(method: str, seed: int) -> list[dict[str, Any]]:
    """Synthetic losses: train every 5 steps, validation every 20."""
    speed = {"full": 0.05, "lora": 0.03, "qaa": 0.018}[method]
    events: list[dict[str, Any]] = []
    for step in range(5, 101, 5):
        loss = 0.9 + 2.6 * math.exp(-speed * step) + 0.12 * seed
        noise = 0.08 * math.sin(step * 1.7 + seed)
        cost = {"step": step, "tokens": step * 512, "seconds": step * 0.02}
        events.append(
            {"event": "train", "loss": loss + noise, "learning_rate": 1e-3, "grad_norm": 0.5, **cost}
        )
        if step % 20 == 0:
            events.append({"event": "eval", "eval_loss": loss + 0.1, **cost})
    return events


def result_events(kind: str, method: str, seed: int) -> list[dict[str, Any]]:
    """Synthetic test and efficiency events; the generation speed of full fine-tuning is missing."""
    bleu, accuracy, trainable, angles, adapter_bytes, step_seconds = INVENTED[method]
    shift = 0 if method == "base" else seed
    if kind == "generation":
        test: dict[str, Any] = {
            "bleu": bleu + shift,
            "bleu_signature": "nrefs:3|case:mixed|tok:13a|version:2.6.0",
            "examples": 12,
        }
        test |= {
            "rouge1": bleu / 60,
            "rouge2": bleu / 90,
            "rougeL": bleu / 65,
            "perplexity": 60 / (bleu + shift),
        }
    else:
        test = {
            "accuracy": accuracy + shift / 100,
            "f1": accuracy,
            "mcc": 2 * accuracy - 1 - 0.02,
            "examples": 12,
        }
    cost: dict[str, Any] = {
        "trainable_parameters": trainable,
        "angles": angles,
        "classical_parameters": trainable - angles,
        "total_parameters": 1_315_328 + (0 if method == "full" else trainable),
        "adapter_bytes": adapter_bytes,
        "peak_memory_bytes": 412_000_000 + 1_000_000 * seed,
        "peak_memory_kind": "resident",
        "step_seconds": step_seconds,
        "generation_tokens_per_second": None
        if method == "full" or kind != "generation"
        else 812.4 - 9 * seed,
    }
    return [{"event": "test", **test}, {"event": "efficiency", **cost}]


def predictions(kind: str, method: str) -> list[dict[str, Any]]:
    """Twelve synthetic predictions, the first of them hostile."""
    if kind == "classification":
        words = ("negative", "positive")
        return [
            {
                "id": i,
                "text": f"synthetic text {i}",
                "label": words[i % 2],
                "prediction": words[(i * 2) % 3 % 2],
            }
            for i in range(12)
        ]
    prompt = "name: The Lantern | food: soup | area: riverside | price: {price}\nDescribe it:"
    return [
        {
            "id": i,
            "prompt": prompt.format(price=10 + i),
            "prediction": HOSTILE if i == 0 else f"The Lantern sells soup by the river ({method}, {i}).",
            "references": [
                f"The Lantern serves soup for {10 + i} pounds.",
                "By the river there is The Lantern.",
            ],
        }
        for i in range(12)
    ]


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic study's folder; tests do not change it."""
    return write_study(tmp_path_factory.mktemp("synthetic") / "study")


@pytest.fixture(scope="session")
def results(study_folder: Path) -> Results:
    """The synthetic study's results."""
    return load_results(study_folder)


@pytest.fixture(scope="session")
def found(results: Results) -> Findings:
    """What the statistics say of the synthetic study: nothing, of two seeds."""
    return findings(results)


@pytest.fixture(scope="session")
def rich() -> Results:
    """A synthetic study with everything: tuning, controls, matched variants, two environments, five seeds."""
    return rich_results()


@pytest.fixture(scope="session")
def rich_found(rich: Results) -> Findings:
    """What the statistics say of it."""
    return findings(rich)
