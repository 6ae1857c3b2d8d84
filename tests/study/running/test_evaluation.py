"""Scoring on the test split: every example is kept, and the scores are those of the predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.study.tiny_models import run_spec

from amplitune.study.data.tasks import Task, load_task
from amplitune.study.metrics import Scores, corpus_scores, score_texts
from amplitune.study.planning.preflight import tokenize
from amplitune.study.running.evaluation import evaluate
from amplitune.study.running.models import load_config, load_model, load_tokenizer
from amplitune.study.settings.config import RunSpec


def prepared(spec: RunSpec) -> tuple[Any, Any, Task, list[dict[str, Any]]]:
    task = load_task(spec.task)
    tokenizer = load_tokenizer(spec)
    torch.manual_seed(0)
    model = load_model(spec, load_config(spec, tokenizer, task.labels))
    return model, tokenizer, task, tokenize(task, spec.task, tokenizer)["test"]


def follows(scores: Scores, predictions: list[dict[str, Any]]) -> None:
    """The scores are what the records' sums add up to."""
    records = json.loads(json.dumps([line["sums"] for line in predictions]))
    sums = {name: np.array([record[name] for record in records], dtype=float) for name in records[0]}
    assert corpus_scores(sums) == pytest.approx(
        {name: value for name, value in scores.items() if name != "bleu_signature"}, abs=1e-6
    )


def test_generation(tiny: Path) -> None:
    spec = run_spec(tiny, "base")
    model, tokenizer, task, rows = prepared(spec)
    scores, predictions, speed = evaluate(model.train(), tokenizer, task, task.test, rows, spec)
    assert set(scores) == {"bleu", "bleu_signature", "rouge1", "rouge2", "rougeL", "perplexity"}
    assert [line["id"] for line in predictions] == [0, 1, 2, 3]
    follows(scores, predictions)
    assert [line["references"] for line in predictions] == [list(e.references) for e in task.test]
    texts = [line["prediction"] for line in predictions]
    again = score_texts(["bleu", "rouge1"], texts, [e.references for e in task.test])
    assert {key: scores[key] for key in again} == again
    assert speed is not None
    assert speed > 0


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_classification_is_that_of_each_text_alone(tiny: Path, batch_size: int) -> None:
    spec = run_spec(tiny, "base", "bert", training={"per_device_eval_batch_size": batch_size})
    model, tokenizer, task, rows = prepared(spec)
    tokenizer.padding_side = "left"
    scores, predictions, speed = evaluate(model.train(), tokenizer, task, task.test, rows, spec)
    assert speed is None
    assert set(scores) == {"accuracy", "f1", "mcc"}
    follows(scores, predictions)
    right = 0
    for row, line, example in zip(rows, predictions, task.test, strict=True):
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([row["input_ids"]])).logits.softmax(-1)[0]
        assert line["scores"] == pytest.approx(alone.tolist(), abs=2e-6)
        assert line["prediction"] == ["cold", "warm"][int(alone.argmax())]
        assert (line["text"], line["label"]) == (example.prompt, ["cold", "warm"][example.label or 0])
        right += line["prediction"] == line["label"]
    assert scores["accuracy"] == right / 4
