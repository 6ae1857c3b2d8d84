"""A synthetic study with everything a report can show: invented numbers with planted differences."""

import math
from typing import Any

import numpy as np
import pandas as pd

from amplitune.study.stored.result_columns import (
    CURVE_COLUMNS,
    MODULE_COLUMNS,
    PREDICTION_COLUMNS,
    TABLE_COLUMNS,
)
from amplitune.study.stored.results import Results
from amplitune.study.tuning.trials import TRIAL_COLUMNS

SEEDS = (0, 1, 2, 3, 4)
EXAMPLES = 60
STEPS = range(0, 101, 10)
# Invented: quality between 0 and 1, trainable parameters, angles, speed of learning.
METHODS: dict[str, tuple[float, int, int, float]] = {
    "base": (0.20, 0, 0, 0.0),
    "bias": (0.45, 700, 0, 0.02),
    "full": (0.78, 1_315_328, 0, 0.06),
    "lora": (0.66, 20_480, 0, 0.04),
    "prefix": (0.55, 41_000, 0, 0.03),
    "sora": (0.66, 20_544, 0, 0.038),
    "qaa": (0.56, 12_356, 68, 0.025),
    "qaa-frozen": (0.56, 12_288, 0, 0.025),
    "qaa-no-entangler": (0.55, 12_356, 68, 0.024),
    "qaa-projection": (0.45, 12_288, 0, 0.02),
    "qaa-squares": (0.56, 12_288, 0, 0.024),
    "qaa-givens": (0.66, 12_356, 0, 0.026),
    "lora-matched": (0.64, 12_800, 0, 0.036),
    "sora-matched": (0.64, 12_840, 0, 0.035),
    "qaa-matched": (0.56, 12_356, 68, 0.025),
}
TASKS: dict[str, tuple[str, str]] = {
    "data-to-text": ("generation", "rougeL"),
    "instructions": ("generation", "rougeL"),
    "sentiment": ("classification", "accuracy"),
}
COMMIT = "6de6fdd0c0ffee00000000000000000000000000"


def study() -> dict[str, Any]:
    """The resolved configuration."""
    methods = []
    for name in METHODS:
        method = name.removesuffix("-matched")
        entry: dict[str, Any] = {"method": method, "name": name, "config": {}, "training": {}}
        if method.startswith("qaa-"):
            entry["control_of"] = "qaa"
        if name.endswith("-matched"):
            entry["matched_to"] = 12_356
        methods.append(entry)
    return {
        "name": "A rich synthetic study",
        "description": "Invented numbers with planted differences.",
        "model_name_or_path": "invented/model-1B",
        "tasks": [
            {"name": name, "kind": kind, "primary_metric": metric} for name, (kind, metric) in TASKS.items()
        ],
        "methods": methods,
        "seeds": list(SEEDS),
        "baseline": "lora",
        "controls": True,
        "matched_parameters": "qaa",
        "tuning": {"trials": 6, "max_steps": None, "seed": 1000, "select_by": "primary_metric"},
        "training": {"max_steps": 100, "warmup_steps": 10},
        "target_loss": None,
    }


def environments() -> dict[str, dict[str, Any]]:
    """Two environments, of which the second ran changed code on another torch."""
    first = {
        "python": "3.11.0",
        "platform": "Synthetic-1.0",
        "cpu": "Invented CPU",
        "cores": 2,
        "threads": 1,
        "device": "cpu",
        "amplitune_commit": COMMIT,
        "packages": {"amplitune": "0.1.0", "torch": "2.8.0", "peft": "0.21.0"},
    }
    packages = {"amplitune": "0.1.0", "torch": "2.9.1", "peft": "0.21.0"}
    return {
        "aaaa1111": first,
        "bbbb2222": first | {"amplitune_commit": f"{COMMIT}-dirty", "packages": packages},
    }


def rich_results() -> Results:
    """3 tasks x 15 methods x 5 seeds, with a failed run, two rows of another environment and tuning."""
    random = np.random.default_rng(7)
    rows, curves, predictions, modules = [], [], [], []
    for index, (task, (kind, metric)) in enumerate(TASKS.items()):
        difficulty = random.normal(0, 0.12, EXAMPLES)
        for method in METHODS:
            for seed in SEEDS:
                run = {"task": task, "method": method, "seed": seed}
                failed = (task, method, seed) == ("sentiment", "prefix", 2)
                quality = _quality(task, method) + (random.normal(0, 0.008) if method != "base" else 0.0)
                scores = np.clip(quality + difficulty + random.normal(0, 0.04, EXAMPLES), 0, 1)
                if kind == "classification":
                    scores = (scores > random.uniform(0.05, 0.95, EXAMPLES)).astype(float)
                row = _row(run, kind, metric, float(scores.mean()), failed, random)
                row["environment"] = (
                    "bbbb2222" if (task, method) == ("instructions", "sora") and seed > 2 else "aaaa1111"
                )
                rows.append(row)
                if METHODS[method][1]:
                    curves += _curve(run, method, index, random, 60 if failed else 100)
                    modules += [] if failed else _modules(run, method, random)
                if not failed:
                    predictions += _predictions(run, kind, metric, scores)
    table = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
    return Results(
        study=study(),
        table=table,
        curves=pd.DataFrame(curves, columns=list(CURVE_COLUMNS)),
        predictions=pd.DataFrame(predictions, columns=list(PREDICTION_COLUMNS)),
        modules=pd.DataFrame(modules, columns=[*MODULE_COLUMNS, "circuit_entanglement"]),
        trials=_trials(random),
        environments=environments(),
    )


def _quality(task: str, method: str) -> float:
    """On sentiment biases alone do as well as full fine-tuning."""
    quality = METHODS[method][0]
    return 0.78 if (task, method) == ("sentiment", "bias") else quality


def _row(
    run: dict[str, Any], kind: str, metric: str, value: float, failed: bool, random: np.random.Generator
) -> dict[str, Any]:
    _, trainable, angles, _ = METHODS[run["method"]]
    text = " ".join(f"--{key} {run[key]}" for key in ("task", "method", "seed"))
    row: dict[str, Any] = dict.fromkeys(TABLE_COLUMNS, math.nan) | run
    row |= dict.fromkeys(("reason", "bleu_signature", "peak_memory_kind", "energy_kind"))
    row |= {
        "kind": kind,
        "status": "failed" if failed else "done",
        "reason": "TrainingError: synthetic failure, the loss is NaN at step 60" if failed else None,
        "command": f"amplitune train study.yaml {text} -o reproduced",
        "primary_metric": metric,
        "higher_is_better": True,
        "seconds": 30.0 + random.normal(0, 2),
    }
    if failed:
        return row
    row |= {metric: value, "primary_value": value, "peak_memory_kind": "resident"}
    row |= {"trainable_parameters": trainable, "angles": angles, "classical_parameters": trainable - angles}
    row |= {"peak_memory_bytes": 4.1e8 + 12 * trainable + 2e6 * random.normal(), "weights_bytes": 5.2e6}
    if kind == "generation":
        row |= {"perplexity": 9 - 6 * value, "generation_tokens_per_second": 800 + 20 * random.normal()}
    row |= {"held_out_perplexity_before": 6.1, "held_out_perplexity": 6.1 + (1 if trainable > 1e6 else 0.2)}
    if not trainable:
        return row
    step = 0.012 + 0.006 * trainable / 1.3e6 + (0.018 if angles else 0)
    row |= {"step_seconds": step, "train_seconds": 100 * step, "tokens_per_second": 512 / step}
    row |= {"gradients_bytes": 4.0 * trainable, "optimizer_bytes": 8.0 * trainable}
    row |= {"energy_joules": 90.0 * step / 0.012, "energy_kind": "an invented package"}
    row |= {"activations_bytes": 3.1e7, "adapter_bytes": 4.0 * trainable + 1200}
    return row | {"effective_rank": 5 + random.normal(), "stable_rank": 2.5, "cka": 0.9, "linear_share": 0.7}


def _curve(
    run: dict[str, Any], method: str, task: int, random: np.random.Generator, until: int
) -> list[dict[str, Any]]:
    speed, points = METHODS[method][3], []
    step_seconds = 0.012 + (0.018 if METHODS[method][2] else 0) + 0.0004 * run["seed"]
    offset = random.normal(0, 0.03)
    for step in STEPS:
        if step > until:
            break
        loss = 0.9 + 0.2 * task + 2.6 * math.exp(-speed * step) + offset
        cost = {"step": float(step), "tokens": step * 512.0, "seconds": step * step_seconds}
        points.append(run | {"split": "validation", "loss": loss, "grad_norm": math.nan} | cost)
        if step:
            norm = math.exp(random.normal(0, 0.3))
            points.append(run | {"split": "train", "loss": loss - 0.1, "grad_norm": norm} | cost)
    return points


def _modules(run: dict[str, Any], method: str, random: np.random.Generator) -> list[dict[str, Any]]:
    return [
        run
        | {
            "module": f"model.layers.{layer}.self_attn.{projection}_proj",
            "effective_rank": 5 + random.normal(),
            "stable_rank": 2.5 + 0.1 * layer,
            "cka": 0.9 - 0.05 * layer,
            "linear_share": 0.7,
            "circuit_entanglement": 0.6 if METHODS[method][2] else math.nan,
        }
        for layer in range(2)
        for projection in ("q", "v")
    ]


def _predictions(
    run: dict[str, Any], kind: str, metric: str, scores: np.ndarray[Any, Any]
) -> list[dict[str, Any]]:
    records = []
    for index, score in enumerate(scores):
        label = ("negative", "positive")[index % 2]
        wrong = ("positive", "negative")[index % 2]
        records.append(
            run
            | {
                "id": index,
                "prompt": f"synthetic example {index}",
                "prediction": (label if score else wrong)
                if kind == "classification"
                else f"An answer ({score:.2f}).",
                "references": [label if kind == "classification" else "The answer."],
                "sums": {metric: [float(score)]},
            }
        )
    return records


def _trials(random: np.random.Generator) -> pd.DataFrame:
    """Six trials a method and task; lora's best on data-to-text lies at the edge; one of qaa failed."""
    rows = []
    for task in TASKS:
        for method, (quality, trainable, _, _) in METHODS.items():
            if not trainable or method.endswith("-matched"):
                continue
            for trial, rate in enumerate((1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)):
                edge = (task, method) == ("data-to-text", "lora")
                best = 5 if edge else 3
                failed = (task, method, trial) == ("sentiment", "qaa", 5)
                rows.append(
                    {
                        "task": task,
                        "method": method,
                        "trial": trial,
                        "status": "failed" if failed else "done",
                        "reason": "TrainingError: the loss is NaN" if failed else None,
                        "settings": {"learning_rate": rate},
                        "learning_rate": rate,
                        "score": math.nan
                        if failed
                        else quality - 0.04 * abs(trial - best) + 0.004 * random.normal(),
                        "loss": math.nan if failed else 1.2,
                        "chosen": trial == best,
                        "edge": "learning_rate" if edge and trial == best else "",
                        "seconds": 9.0,
                    }
                )
    return pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
