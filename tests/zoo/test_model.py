"""The bundled model: its files, its tokenizer, its stated loss recomputed, and how its text ends."""

import json
import math
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from amplitune.zoo import MODEL_PATH, TASKS, generate
from amplitune.zoo.grammar import corpus, paragraph


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL_PATH, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(MODEL_PATH, local_files_only=True).eval()


@pytest.fixture(scope="module")
def numbers() -> dict[str, float]:
    return json.loads((MODEL_PATH / "pretraining.json").read_text())


def test_folder_is_complete_and_small() -> None:
    names = {path.name for path in MODEL_PATH.iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "pretraining.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_curve.jsonl",
    }
    assert sum(path.stat().st_size for path in MODEL_PATH.iterdir()) <= 8_000_000


def test_model_card_states_licence_data_and_numbers(numbers: dict[str, float]) -> None:
    card = (MODEL_PATH / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "a demonstration, not evidence" in card
    assert "python recipes/pretrain.py" in card
    assert str(numbers["held_out_loss"]) in card

    assert "$" not in card


def test_model_is_a_llama_of_one_to_three_million_parameters(
    model: PreTrainedModel, numbers: dict[str, float]
) -> None:
    assert model.config.model_type == "llama"
    assert 1e6 < model.num_parameters() < 3e6
    assert model.num_parameters() == numbers["parameters"]
    assert not math.log2(model.config.hidden_size).is_integer()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_special_tokens_are_distinct_and_match_the_model(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    ids = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert len(set(ids)) == 3
    for config in (model.config, model.generation_config):
        assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == ids


def test_every_text_is_known_and_survives_the_round_trip(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.unk_token is None
    for text in ("Mara Lindel, 42", "name[x] §€ 漢字 🙂\t\n  two", "\x00\x7f"):
        ids = tokenizer(text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_stated_loss_is_met_on_held_out_text_and_beats_token_frequencies(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, numbers: dict[str, float]
) -> None:
    total, count = 0.0, 0
    for text in corpus(21, 0, 120, held_out=True):
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss
        total += float(loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert total / count == pytest.approx(numbers["held_out_loss"], rel=0.05)
    assert numbers["held_out_loss"] < 0.4 * numbers["unigram_loss"]


def test_training_curve_ends_at_the_stated_loss(numbers: dict[str, float]) -> None:
    curve = [json.loads(line) for line in (MODEL_PATH / "training_curve.jsonl").read_text().splitlines()]
    assert len(curve) >= 10
    assert curve[-1]["held_out_loss"] == pytest.approx(numbers["held_out_loss"], abs=2e-4)
    assert curve[-1]["tokens"] == numbers["training_tokens"]
    assert curve[-1]["held_out_loss"] < curve[0]["held_out_loss"]


def test_greedy_text_ends_and_repeats_the_names_of_its_beginning(
    tokenizer: PreTrainedTokenizerBase, model: Any
) -> None:
    ended = copied = 0
    for index in range(12):
        text = paragraph(77, index, kind="biography", held_out=True)
        beginning = text[: text.index(". ", text.index(". ") + 1) + 1]
        inputs = tokenizer(beginning, return_tensors="pt")
        output = model.generate(**inputs, max_new_tokens=120, do_sample=False)[0]
        ended += int(output[-1] == tokenizer.eos_token_id)
        continuation = tokenizer.decode(output[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        capitals = {
            word for word in beginning.replace(".", " ").split() if word[0].isupper() and len(word) > 3
        }
        copied += any(word in continuation for word in capitals)
    assert ended >= 10
    assert copied >= 8


@pytest.mark.parametrize("task", TASKS)
def test_task_rows_are_short(task: str, tokenizer: PreTrainedTokenizerBase) -> None:
    for row in generate(task)["train"][:300]:
        text = "\n".join(value for column, value in row.items() if column not in ("references", "label"))
        assert len(tokenizer(text)["input_ids"]) <= 96
