"""Tiny random models of three architectures with a tokenizer, and data files that fit them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from amplitune.study.data.tasks import TaskKind
from amplitune.study.settings.config import RunSpec, StudyConfig

HIDDEN, LAYERS = 24, 2
"""Width (no power of two) and depth of each model."""

COLOURS = ("red", "green", "blue", "white")
THINGS = ("boat", "door", "lamp", "coat", "bird", "ring")

PAIRS: list[dict[str, str]] = [
    {"prompt": f"{thing} is {colour}", "completion": f"The {thing} looks {colour}."}
    for thing in THINGS
    for colour in COLOURS
]
TEXTS: list[dict[str, Any]] = [
    {"text": f"the {thing} is {colour}", "label": "warm" if colour in ("red", "white") else "cold"}
    for thing in THINGS
    for colour in COLOURS
]


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with BOS (added to each text), EOS and a padding token of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([f"{row['prompt']}\n{row['completion']}" for row in PAIRS], trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def save_models(folder: Path) -> Path:
    """Save `llama`, `gpt2` (Conv1D projections) and `bert` (an encoder) below a folder."""
    words = tokenizer()
    ids: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    vocabulary = len(words)
    torch.manual_seed(0)
    built = {
        "llama": LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=HIDDEN,
                intermediate_size=40,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=64,
                initializer_range=0.2,
                **ids,
            )
        ),
        "gpt2": GPT2LMHeadModel(
            GPT2Config(vocab_size=vocabulary, n_embd=HIDDEN, n_layer=LAYERS, n_head=4, n_positions=64, **ids)
        ),
        "bert": BertForSequenceClassification(
            BertConfig(
                vocab_size=vocabulary,
                hidden_size=HIDDEN,
                intermediate_size=40,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                max_position_embeddings=64,
                pad_token_id=0,
            )
        ),
    }
    for name, model in built.items():
        model.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    return folder


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Write JSON lines and give the path back as text."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def save_data(folder: Path) -> Path:
    """Write train, validation and test files of the two tasks below a folder."""
    for name, rows in (("pairs", PAIRS), ("texts", TEXTS)):
        for split, part in (("train", rows[:16]), ("validation", rows[16:20]), ("test", rows[20:])):
            write_rows(folder / f"{name}-{split}.jsonl", part)
    return folder


def task_values(folder: Path, data: str = "pairs", **changes: Any) -> dict[str, Any]:
    """A task on the files of `save_data`: "pairs" to generate, "texts" to classify."""
    files = {
        f"{split}_file": str(folder / f"{data}-{split}.jsonl") for split in ("train", "validation", "test")
    }
    return {"name": data, **files, "max_length": 48, "max_new_tokens": 6, **changes}


def study_values(folder: Path, model: str = "llama", **changes: Any) -> dict[str, Any]:
    """A study of few steps on a model of `save_models`."""
    data = "texts" if model == "bert" else "pairs"
    training = {"max_steps": 4, "warmup_steps": 0, "logging_steps": 2, "per_device_train_batch_size": 4}
    return {
        "model_name_or_path": str(folder / model),
        "tasks": [task_values(folder, data)],
        "methods": ["lora"],
        "threads": 1,
        **changes,
        "training": {**training, **changes.get("training", {})},
    }


def run_spec(folder: Path, method: str | dict[str, Any], model: str = "llama", **changes: Any) -> RunSpec:
    """The only run of a study with one method, its task's kind known."""
    study = StudyConfig.parse(study_values(folder, model, methods=[method], **changes))
    (spec,) = study.runs()
    kind: TaskKind = "classification" if model == "bert" else "generation"
    return spec.model_copy(update={"task": spec.task.resolved(kind)})
