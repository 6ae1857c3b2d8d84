"""The pretraining recipe at a toy size: the same weights again, also after a pause, and a loadable folder."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain", RECIPES / "pretrain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def settings() -> dict[str, Any]:
    toy = yaml.safe_load((RECIPES / "pretrain.yaml").read_text())
    toy["tokenizer"] = {"vocab_size": 300, "paragraphs": 50}
    toy["model"] |= {
        "hidden_size": 12,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    toy["model"] |= {"num_key_value_heads": 2, "max_position_embeddings": 32}
    toy["training"] |= {"steps": 6, "rows": 2, "warmup_steps": 1, "decay_steps": 1, "checkpoint_every": 3}
    toy["training"] |= {"bfloat16": False, "compile": False}
    toy["evaluation"] = {"paragraphs": 4, "every": 3}
    return toy


def test_interrupted_training_ends_with_the_same_weights(
    recipe: ModuleType, settings: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer = recipe.train_tokenizer(settings)
    whole, state = recipe.train(settings, tokenizer, tmp_path / "whole.pt")
    shorter = {**settings, "training": {**settings["training"], "steps": 3}}
    recipe.train(shorter, tokenizer, tmp_path / "part.pt")
    resumed, resumed_state = recipe.train(settings, tokenizer, tmp_path / "part.pt")
    assert state["paragraph"] == resumed_state["paragraph"] > 0
    assert [point["loss"] for point in state["curve"]] == [point["loss"] for point in resumed_state["curve"]]
    pairs = list(zip(whole.parameters(), resumed.parameters(), strict=True))
    assert len(pairs) == 11
    assert all(torch.equal(one, other) for one, other in pairs)


def test_export_writes_a_folder_that_loads(
    recipe: ModuleType, settings: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer = recipe.train_tokenizer(settings)
    model, state = recipe.train(settings, tokenizer, tmp_path / "checkpoint.pt")
    recipe.export(settings, tokenizer, model, state, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    again = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    text = "Mara has 12 cats.\n\nName: Tom"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, model(ids).logits)
    numbers = json.loads((tmp_path / "model" / "pretraining.json").read_text())
    assert numbers["training_tokens"] == 6 * 2 * 32
    assert str(numbers["unigram_loss"]) in (tmp_path / "model" / "README.md").read_text()


def test_rows_begin_with_the_beginning_of_a_paragraph(recipe: ModuleType, settings: dict[str, Any]) -> None:
    tokenizer = recipe.train_tokenizer(settings)
    stream = recipe.rows(settings, tokenizer, 0)
    rows = [next(stream) for _ in range(10)]
    assert all(len(row) == 32 and row[0] == tokenizer.bos_token_id for row, _ in rows)
    following = recipe.rows(settings, tokenizer, rows[4][1])
    assert [next(following) for _ in range(5)] == rows[5:]


def test_learning_rate_warms_up_holds_and_decays(recipe: ModuleType) -> None:
    training = {"steps": 100, "learning_rate": 0.5, "warmup_steps": 10, "decay_steps": 20}
    rates = [recipe.learning_rate(step, training) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert set(rates[9:81]) == {0.5}
    assert rates[-1] == pytest.approx(0.025)
