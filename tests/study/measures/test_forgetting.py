"""Forgetting against log-probabilities added up window by window."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study.measures.trained_models import Trained, trained
from tests.study.tiny_models import PAIRS, tokenizer

from amplitune.study.measures import forgetting as module
from amplitune.study.measures.forgetting import forgetting, window_length, windows

DOCUMENTS = [row["completion"] for row in PAIRS[:6]] + [" ".join(row["prompt"] for row in PAIRS)]


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Short documents, and one that is longer than a window."""
    path = tmp_path / "held.jsonl"
    path.write_text("".join(json.dumps({"text": document}) + "\n" for document in DOCUMENTS))
    return str(path)


def measure(run: Trained) -> dict[str, float | None]:
    return forgetting(run.model, run.load, run.tokenizer, run.spec)


def by_hand(model: Any, length: int = 32) -> float:
    """Perplexity of the documents, each window by itself."""
    loss, count = 0.0, 0
    words = tokenizer()
    for document in DOCUMENTS:
        ids = words(document)["input_ids"]
        for start in range(0, len(ids), length):
            part = torch.tensor([ids[start : start + length]])
            with torch.no_grad():
                logits = model.eval()(input_ids=part).logits.double().log_softmax(-1)
            for t in range(1, part.shape[1]):
                loss -= float(logits[0, t - 1 - part.shape[1], part[0, t]])
                count += 1
    return math.exp(loss / count)


@pytest.mark.parametrize("method", ["full", "lora", "qaa", "prefix"])
def test_it_is_the_perplexity_of_both_models(tiny: Path, text: str, method: str) -> None:
    run = trained(tiny, method, held_out_text=text)
    found = measure(run)
    assert found["held_out_perplexity_before"] == pytest.approx(by_hand(run.load()), rel=1e-4)
    assert found["held_out_perplexity"] == pytest.approx(by_hand(run.model), rel=1e-4)
    assert found["held_out_perplexity"] != pytest.approx(found["held_out_perplexity_before"], rel=1e-3)


def test_the_untouched_model_forgets_nothing(tiny: Path, text: str) -> None:
    run = trained(tiny, "base", held_out_text=text)
    found = measure(run)
    assert found["held_out_perplexity"] == found["held_out_perplexity_before"]
    assert found["held_out_perplexity"] == pytest.approx(by_hand(run.model), rel=1e-4)


def test_classifiers_and_studies_without_a_text_are_left_alone(tiny: Path, text: str) -> None:
    assert measure(trained(tiny, "lora", "bert", held_out_text=text)) == {}
    assert measure(trained(tiny, "lora")) == {}


def test_virtual_tokens_that_leave_no_room_leave_a_blank(tiny: Path, text: str) -> None:
    run = trained(tiny, {"method": "prefix", "config": {"num_virtual_tokens": 33}}, held_out_text=text)
    found = measure(run)
    assert found["held_out_perplexity"] is None
    assert found["held_out_perplexity_before"] == pytest.approx(by_hand(run.load()), rel=1e-4)


def test_windows_cover_each_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    words = tokenizer()
    rows = windows(DOCUMENTS, words, 32)
    whole = [words(document)["input_ids"] for document in DOCUMENTS]
    assert [token for row in rows for token in row["input_ids"]] == [token for ids in whole for token in ids]
    assert len(rows) == sum(-(-len(ids) // 32) for ids in whole) > len(DOCUMENTS)
    assert all(row["completion_mask"] == [1] * len(row["input_ids"]) for row in rows)
    monkeypatch.setattr(module, "MOST_TOKENS", 20)
    assert sum(len(row["input_ids"]) for row in windows(DOCUMENTS, words, 32)) == 20
    # A token that nothing stands before is not predicted, and a window of it alone says nothing.
    first = words(DOCUMENTS[0])["input_ids"]
    assert [len(row["input_ids"]) for row in windows(DOCUMENTS[:1], words, len(first) - 1)] == [
        len(first) - 1
    ]


def test_a_window_is_half_of_the_context() -> None:
    assert [window_length(context) for context in (64, 256, 2048, 131072, None)] == [
        32,
        128,
        1024,
        1024,
        1024,
    ]
