"""What the tests of studies share: torch as they found it, small tokenizers, tasks written to files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from amplitune.study.data.tasks import TaskConfig

CORPUS = [
    "The answer is yes and the question is no.",
    "Name: Kim\nCity: Oslo\nAnswer: Kim lives in Oslo.",
    "Instruction: name a colour\nInput: sky\nAnswer: blue",
] * 4


@pytest.fixture(autouse=True)
def settings_of_torch() -> Iterator[None]:
    """Put back what a run sets for its own process."""
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def byte_level(special: list[str]) -> Tokenizer:
    """A byte-level BPE vocabulary, as GPT-2's: a word carries the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@pytest.fixture
def gpt2_like() -> PreTrainedTokenizerFast:
    """Byte-level; its only special token is BOS, EOS and unknown at once; none is added to a text."""
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level([end]), bos_token=end, eos_token=end, unk_token=end
    )


@pytest.fixture
def llama_like() -> PreTrainedTokenizerFast:
    """Metaspace: each text starts with a space of its own; BOS is added; no padding token is declared."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture
def write_task(tmp_path: Path) -> Callable[..., TaskConfig]:
    """Write training and test rows to files, and configure the task "t" on them."""

    def write(train: list[dict[str, Any]], test: list[dict[str, Any]], **settings: Any) -> TaskConfig:
        files = {}
        for split, rows in (("train", train), ("test", test)):
            file = tmp_path / f"{split}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            files[f"{split}_file"] = str(file)
        return TaskConfig.parse({"name": "t", **files, **settings})

    return write
