"""Tokenised examples: the border between prompt and answer, the loss mask, truncation, padding tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.tasks import Example, TaskConfig, load_task
from amplitune.study.data.tokens import (
    answers_cut,
    ensure_pad_token,
    tokenize_classification,
    tokenize_generation,
    tokenize_prompts,
    unknown_tokens,
)

KINDS = ["gpt2_like", "llama_like"]


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    kind: PreTrainedTokenizerFast = request.getfixturevalue(request.param)
    return kind


def answer_text(row: dict[str, list[int]], tokenizer: Any) -> str:
    ids = [token for token, trained in zip(row["input_ids"], row["completion_mask"], strict=True) if trained]
    return str(tokenizer.decode(ids))


def test_loss_is_on_the_answer_and_its_eos(tokenizer: PreTrainedTokenizerFast) -> None:
    example = Example("Name: Kim\nAnswer: ", "Kim lives in Oslo.")
    (row,) = tokenize_generation([example], tokenizer, 100)
    prompt = tokenize_prompts([example.prompt], tokenizer)[0]
    assert set(row) == {"input_ids", "completion_mask"}
    assert len(row["input_ids"]) == len(row["completion_mask"])
    assert row["completion_mask"] == [0] * len(prompt) + [1] * (len(row["input_ids"]) - len(prompt))
    assert row["input_ids"][: len(prompt)] == prompt, "generation sees the ids that training saw"
    assert row["input_ids"][-1] == tokenizer.eos_token_id
    assert answer_text(row, tokenizer).strip() == f"Kim lives in Oslo.{tokenizer.eos_token}"


def test_no_token_spans_the_border(gpt2_like: PreTrainedTokenizerFast) -> None:
    joined = gpt2_like("Answer")["input_ids"]
    assert len(joined) == 1, "the vocabulary has the whole word"
    (row,) = tokenize_generation([Example("Ans", "wer")], gpt2_like, 100)
    assert answer_text(row, gpt2_like) == "wer<|endoftext|>"


def test_a_space_at_the_prompts_end_goes_to_the_answer(gpt2_like: PreTrainedTokenizerFast) -> None:
    (row,) = tokenize_generation([Example("Answer: ", "yes")], gpt2_like, 100)
    assert row["input_ids"] == [*gpt2_like("Answer: yes")["input_ids"], gpt2_like.eos_token_id]
    assert answer_text(row, gpt2_like) == " yes<|endoftext|>"
    (row,) = tokenize_generation([Example("Answer:\n", "yes")], gpt2_like, 100)
    assert answer_text(row, gpt2_like) == "yes<|endoftext|>"


def test_metaspace_vocabularies_get_one_space(llama_like: PreTrainedTokenizerFast) -> None:
    for prompt in ("Answer: ", "Answer:"):
        (row,) = tokenize_generation([Example(prompt, "yes")], llama_like, 100)
        assert row["input_ids"] == [*llama_like("Answer: yes")["input_ids"], llama_like.eos_token_id]


def test_bos_as_the_tokenizer_does_it(
    gpt2_like: PreTrainedTokenizerFast, llama_like: PreTrainedTokenizerFast
) -> None:
    (row,) = tokenize_generation([Example("a", "b")], llama_like, 100)
    assert row["input_ids"].count(llama_like.bos_token_id) == 1
    assert row["input_ids"][0] == llama_like.bos_token_id
    (row,) = tokenize_generation([Example("a", "b")], gpt2_like, 100)
    assert row["input_ids"].count(gpt2_like.bos_token_id) == 1, "EOS at the end only"


def test_an_eos_that_the_tokenizer_adds_does_not_end_the_prompt(llama_like: PreTrainedTokenizerFast) -> None:
    from tokenizers import processors

    llama_like.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    (row,) = tokenize_generation([Example("a", "b")], llama_like, 100)
    assert row["input_ids"][0] == llama_like.bos_token_id
    assert row["input_ids"].count(2) == 1 and row["input_ids"][-1] == 2


def test_truncation_keeps_the_prompt_and_cuts_the_answers_end(tokenizer: PreTrainedTokenizerFast) -> None:
    example = Example("Name: Kim\n", "Kim lives in Oslo. " * 5)
    (whole,) = tokenize_generation([example], tokenizer, 1000)
    prompt = whole["completion_mask"].count(0)
    rows = tokenize_generation([example], tokenizer, prompt + 3)
    assert rows[0]["input_ids"] == whole["input_ids"][: prompt + 3]
    assert rows[0]["completion_mask"] == [0] * prompt + [1] * 3
    assert answers_cut(rows, tokenizer) == 1
    assert answers_cut([whole], tokenizer) == 0
    (exact,) = tokenize_generation([example], tokenizer, len(whole["input_ids"]))
    assert exact == whole


def test_an_answer_cut_away_is_an_error(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [Example("a", "b", index=0), Example("Name: Kim\n", "Oslo", index=7)]
    prompt = len(tokenize_prompts([examples[1].prompt], tokenizer)[0])
    needed = len(tokenize_generation(examples, tokenizer, 1000)[1]["input_ids"])
    message = (
        rf"`max_length` of task 'city' .*but is {prompt} where example 7 of the test split has a prompt of "
        rf"{prompt} tokens and an answer of {needed - prompt - 1}\.\nRaise max_length to {needed},"
    )
    with pytest.raises(DataError, match=message):
        tokenize_generation(examples, tokenizer, prompt, task="city", split="test")
    assert len(tokenize_generation(examples, tokenizer, prompt + 1)) == 2


def test_nothing_gives_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenize_generation([], tokenizer, 10) == []
    assert tokenize_classification([], tokenizer, 10) == []
    assert tokenize_prompts([], tokenizer) == []


def test_classification_rows(tokenizer: PreTrainedTokenizerFast) -> None:
    examples = [Example("yes", label=1), Example("the question is no " * 10, label=0)]
    short, long = tokenize_classification(examples, tokenizer, 8)
    assert short == {**tokenizer("yes", return_token_type_ids=False), "labels": 1}
    assert long["labels"] == 0
    assert long["input_ids"] == tokenizer(examples[1].prompt)["input_ids"][:8]
    assert long["attention_mask"] == [1] * 8


def test_a_text_without_tokens_is_an_error(gpt2_like: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="at least one token, but example 3 of the train split has none: ''"):
        tokenize_classification([Example("", label=0, index=3)], gpt2_like, 8, task="t")


def test_pad_token_is_the_models_own_if_it_is_not_eos(llama_like: PreTrainedTokenizerFast) -> None:
    llama_like.pad_token = "<s>"
    assert ensure_pad_token(llama_like) == llama_like.bos_token_id


@pytest.mark.parametrize("own", [None, "</s>"])
def test_pad_token_is_the_unknown_token_rather_than_eos(
    llama_like: PreTrainedTokenizerFast, own: str | None
) -> None:
    llama_like.pad_token = own
    size = len(llama_like)
    assert ensure_pad_token(llama_like) == llama_like.unk_token_id == llama_like.pad_token_id
    assert len(llama_like) == size


def test_pad_token_is_one_named_so(llama_like: PreTrainedTokenizerFast) -> None:
    llama_like.add_tokens(["<|finetune_right_pad_id|>"], special_tokens=True)
    size = len(llama_like)
    assert ensure_pad_token(llama_like) == llama_like.convert_tokens_to_ids("<|finetune_right_pad_id|>")
    assert len(llama_like) == size


def test_eos_is_trained_even_where_it_pads(gpt2_like: PreTrainedTokenizerFast) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    pad = ensure_pad_token(gpt2_like)
    assert pad == gpt2_like.eos_token_id
    rows = tokenize_generation(
        [Example("Name:", "Kim"), Example("Name:", "Kim lives in Oslo.")], gpt2_like, 100
    )
    batch = DataCollatorForLanguageModeling(pad_token_id=pad)(
        [{"input_ids": r["input_ids"], "labels": _labels(r)} for r in rows]
    )
    assert batch["input_ids"].shape[0] == 2
    for i, row in enumerate(rows):
        length = len(row["input_ids"])
        assert batch["labels"][i, length - 1] == gpt2_like.eos_token_id
        assert torch.all(batch["labels"][i, length:] == -100)
        assert batch["attention_mask"][i].tolist() == [1] * length + [0] * (batch["labels"].shape[1] - length)


def _labels(row: dict[str, list[int]]) -> list[int]:
    return [t if m else -100 for t, m in zip(row["input_ids"], row["completion_mask"], strict=True)]


def test_a_tokenizer_without_eos_is_refused_for_generation_only(llama_like: PreTrainedTokenizerFast) -> None:
    llama_like.eos_token = None
    assert ensure_pad_token(llama_like) is not None
    with pytest.raises(ConfigError, match="must have an EOS token"):
        tokenize_generation([Example("a", "b")], llama_like, 10)


def test_unknown_tokens_are_counted(
    gpt2_like: PreTrainedTokenizerFast, llama_like: PreTrainedTokenizerFast
) -> None:
    examples = [Example("name[Kim]", "Oslo"), Example("name", "Kim")]
    assert unknown_tokens(tokenize_generation(examples, llama_like, 100), llama_like) == 2
    assert unknown_tokens(tokenize_generation(examples, gpt2_like, 100), gpt2_like) == 0


SUBSTITUTIONS = {"[": " is ", "]": "", "(": ": ", ")": "", "/": " or ", "+": " plus", "&": " and ", "é": "e"}


@pytest.mark.real
@pytest.mark.parametrize("model", ["stories260K", "TinyStories-656K"])
def test_real_tokenizers_lose_no_answer_and_know_the_substituted_prompts(shared: Path, model: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / model)
    assert ensure_pad_token(tokenizer) != tokenizer.eos_token_id
    files = {
        "train_file": "viggo.train.jsonl",
        "validation_file": "viggo.valid.jsonl",
        "test_file": "viggo.test_multiref.jsonl",
    }
    paths = {key: str(shared / "data" / name) for key, name in files.items()}
    task = load_task(TaskConfig.parse({"name": "viggo", **paths, "substitutions": SUBSTITUTIONS}))
    rows = tokenize_generation(task.train, tokenizer, 512)
    assert len(rows) == 5103
    assert answers_cut(rows, tokenizer) == 0
    prompts = [{"input_ids": ids} for ids in tokenize_prompts([e.prompt for e in task.train], tokenizer)]
    assert unknown_tokens(prompts, tokenizer) == 0
    known = [pair for pair in zip(task.train, rows, strict=True) if not unknown_tokens(pair[1:], tokenizer)]
    assert len(known) > 3000
    for example, row in known[:200]:
        text = answer_text(row, tokenizer).removesuffix(tokenizer.eos_token).strip()
        assert text == example.completion
