"""Chat: prompts, answers and loss masks as the templates of models write them, against transformers' own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.study import chat_templates as templates
from tests.study.chat_templates import chat_tokenizer
from tests.study.tiny_models import run_spec
from transformers import PreTrainedTokenizerFast

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.chat import render
from amplitune.study.data.tasks import Example, TaskConfig, load_task
from amplitune.study.data.tokens import answers_cut, prompt_tokens, tokenize_generation, tokenize_prompts
from amplitune.study.running.generation import generate
from amplitune.study.running.run import run

WriteTask = Callable[..., TaskConfig]

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "The question?"},
    {"role": "assistant", "content": "The answer."},
    {"role": "user", "content": "And Oslo?"},
    {"role": "assistant", "content": "Kim lives in Oslo. "},
]
NO_SYSTEM = TALK[1:]
ROWS = [{"messages": TALK}] + [
    {"messages": [{"role": "user", "content": f"name {i}"}, {"role": "assistant", "content": "Kim"}]}
    for i in range(11)
]


def examples(talk: list[dict[str, str]], write_task: WriteTask) -> tuple[list[Example], TaskConfig]:
    """The two training examples of a conversation."""
    others = [[{"role": "user", "content": f"x{i}"}, {"role": "assistant", "content": "y"}] for i in range(2)]
    rows: list[dict[str, Any]] = [{"messages": messages} for messages in (talk, *others)]
    # Validation data of its own, so that nothing is split off.
    task = write_task(rows, rows)
    task = task.model_copy(update={"validation_file": task.test_file})
    return [example for example in load_task(task).train if example.index == 0], task


def tokenized(
    talk: list[dict[str, str]], tokenizer: PreTrainedTokenizerFast, write_task: WriteTask
) -> list[dict[str, list[int]]]:
    turns, task = examples(talk, write_task)
    written, turn_end = render(turns, task, tokenizer)
    return tokenize_generation(written, tokenizer, 1000, turn_end=turn_end)


# What each template makes of the last turn: the end of the prompt, and the trained text.
EXPECTED = {
    "chatml": (templates.CHATML, TALK, "<|im_start|>assistant\n", "Kim lives in Oslo.<|im_end|>"),
    "llama 3": (
        templates.LLAMA_3,
        TALK,
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Kim lives in Oslo.<|eot_id|>",
    ),
    "zephyr": (templates.ZEPHYR, TALK, "<|assistant|>\n", "Kim lives in Oslo.</s>"),
    "mistral": (templates.MISTRAL, NO_SYSTEM, "[INST] And Oslo? [/INST]", " Kim lives in Oslo.</s>"),
    "thinking": (
        templates.THINKING,
        TALK,
        "<|im_start|>assistant\n<think>\n\n</think>\n\n",
        "Kim lives in Oslo.<|im_end|>",
    ),
    "plain": (templates.PLAIN, TALK, "### assistant:\n", "Kim lives in Oslo.</s>"),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_loss_is_on_the_answer_and_the_end_of_its_turn(write_task: WriteTask, name: str) -> None:
    assert len(EXPECTED) == 6
    template, talk, start, trained = EXPECTED[name]
    tokenizer = chat_tokenizer(template)
    first, last = tokenized(talk, tokenizer, write_task)
    border = last["completion_mask"].index(1)
    assert last["completion_mask"] == [0] * border + [1] * (len(last["input_ids"]) - border)
    prompt, answer = (
        str(tokenizer.decode(part)) for part in (last["input_ids"][:border], last["input_ids"][border:])
    )
    assert prompt.endswith(start) and answer == trained
    assert "The answer." in prompt, "earlier turns are read, not trained"
    assert first["input_ids"].count(tokenizer.bos_token_id) == template.count("bos_token")
    border = first["completion_mask"].index(1)
    assert str(tokenizer.decode(first["input_ids"][border:])).strip() == trained.strip().replace(
        "Kim lives in Oslo.", "The answer."
    )


@pytest.mark.parametrize("template", [templates.CHATML_MARKED, templates.LLAMA_3_MARKED])
def test_all_turns_together_train_what_transformers_marks(write_task: WriteTask, template: str) -> None:
    tokenizer = chat_tokenizer(template)
    turns = [dict(turn, content=turn["content"].strip()) for turn in TALK]
    reference: Any = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    mask = [0] * len(reference["input_ids"])
    rows = tokenized(turns, tokenizer, write_task)
    assert len(rows) == 2
    for row in rows:
        assert row["input_ids"] == reference["input_ids"][: len(row["input_ids"])]
        mask = [max(pair) for pair in zip(mask, row["completion_mask"] + mask, strict=False)]
    assert mask == reference["assistant_masks"] and 0 < sum(mask) < len(mask)


def test_a_prompt_has_the_ids_that_transformers_gives_it(write_task: WriteTask) -> None:
    for template in (templates.CHATML, templates.LLAMA_3, templates.ZEPHYR):
        tokenizer = chat_tokenizer(template)
        (row,) = tokenized(TALK, tokenizer, write_task)[1:]
        reference = tokenizer.apply_chat_template(TALK[:-1], add_generation_prompt=True, return_dict=False)
        assert prompt_tokens([row]) == [reference]
        written, _ = render(
            examples(TALK, write_task)[0], TaskConfig(name="t", dataset_name="zoo:x"), tokenizer
        )
        assert tokenize_prompts([written[1].prompt], tokenizer, chat=True) == [reference]


def test_an_answer_that_is_cut_does_not_end(write_task: WriteTask) -> None:
    tokenizer = chat_tokenizer(templates.CHATML)
    turns, task = examples(TALK, write_task)
    written, turn_end = render(turns, task, tokenizer)
    whole = tokenize_generation(written, tokenizer, 1000, turn_end=turn_end)
    assert answers_cut(whole, tokenizer, turn_end) == 0
    length = len(whole[1]["input_ids"]) - 1
    rows = tokenize_generation(written, tokenizer, length, turn_end=turn_end)
    assert answers_cut(rows, tokenizer, turn_end) == 1
    assert rows[1]["input_ids"] == whole[1]["input_ids"][:length]


def test_evaluation_takes_the_last_answer_and_validation_no_trained_conversation(
    write_task: WriteTask,
) -> None:
    rows = [{"messages": [*TALK[:1], {"role": "user", "content": f"ask {i}"}, *TALK[2:]]} for i in range(12)]
    task = load_task(write_task(rows * 2, ROWS))
    assert [len(example.messages) for example in task.test[:2]] == [4, 1]
    assert task.test[0].references == ("Kim lives in Oslo.",)
    assert "chat (messages=messages)" in task.format_note
    assert "24 conversations with 48 answers to train on" in task.format_note
    trained = {example.opening for example in task.train}
    assert (len(trained), len(task.train)) == (11, 44)
    (validated,) = task.validation
    assert validated.opening not in trained and len(validated.messages) == 4


def test_conversations_with_one_question_are_one_example_with_their_references(write_task: WriteTask) -> None:
    other = [*TALK[:-1], {"role": "assistant", "content": "He does."}]
    task = load_task(write_task(ROWS, [{"messages": TALK}, {"messages": other}]))
    assert [example.references for example in task.test] == [("Kim lives in Oslo.", "He does.")]


def test_a_chat_column_is_found_beside_others_and_by_its_values(write_task: WriteTask) -> None:
    rows = [{"prompt": "x", "completion": "y", "conversations": row["messages"]} for row in ROWS]
    assert "chat (messages=conversations)" in load_task(write_task(rows, rows)).format_note
    texts = [{"text": f"t{i}", "label": i % 2, "messages": "three"} for i in range(4)]
    assert load_task(write_task(texts, texts)).kind == "classification"


def test_substitutions_reach_prompts_and_not_answers(write_task: WriteTask) -> None:
    task = load_task(write_task(ROWS, ROWS, substitutions={"answer": "reply", "Kim": "Bo"}))
    assert task.test[0].messages[2].content == "The reply."
    assert task.test[0].completion == "Kim lives in Oslo."


def test_the_template_of_the_task_comes_before_the_models(write_task: WriteTask, tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text(templates.ZEPHYR)
    for given in (templates.ZEPHYR, str(file)):
        task = write_task(ROWS, ROWS, chat_template=given)
        (example, *_), turn_end = render(load_task(task).test, task, chat_tokenizer(templates.CHATML))
        assert example.prompt.endswith("<|assistant|>\n") and turn_end == "</s>"


def test_the_day_of_a_run_is_not_in_its_prompts(write_task: WriteTask) -> None:
    task = write_task(ROWS, ROWS, chat_template="{{ strftime_now('%d %b %Y') }}\n" + templates.CHATML)
    (example, *_), _ = render(load_task(task).test, task, chat_tokenizer())
    assert example.prompt.startswith("26 Jul 2024\n")


WRONG: dict[str, tuple[dict[str, Any], str | None, str]] = {
    "none": (
        {},
        None,
        r"`chat_template` of task 't' must be set where the model has none.*\nGive Jinja text",
    ),
    "syntax": ({"chat_template": "{% for x %}"}, None, "must be a Jinja template, but is none"),
    "refused": (
        {},
        templates.MISTRAL,
        r"refuses row 0 .* of the test split: Conversation roles must alternate",
    ),
    "no answer": (
        {"chat_template": "{{ messages[0].content }}"},
        None,
        "must write the prompt of an answer as",
    ),
    "other prompt": (
        {"chat_template": "{% if add_generation_prompt %}Go{% endif %}" + templates.CHATML},
        None,
        "must write the prompt of an answer as the beginning",
    ),
    "no file": ({"chat_template": "./absent.jinja"}, None, "is neither.\nCorrect the path"),
    "separator": ({"separator": " "}, templates.CHATML, "`separator` of task 't' must be unset for chat"),
    "prompt template": ({"prompt_template": "{prompt}"}, templates.CHATML, "`prompt_template` of task 't'"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_what_a_template_cannot_do_is_an_error(write_task: WriteTask, case: str) -> None:
    settings, template, message = WRONG[case]
    task = write_task(ROWS, ROWS, **settings)
    with pytest.raises((ConfigError, DataError), match=message):
        render(load_task(task).test, task, chat_tokenizer(template))


def test_a_chat_template_without_chat_is_refused(write_task: WriteTask) -> None:
    pairs = [{"prompt": f"p{i}", "completion": "c"} for i in range(3)]
    with pytest.raises(ConfigError, match="`chat_template` of task 't' must be unset for data of format"):
        load_task(write_task(pairs, pairs, chat_template="{{ x }}"))


class Parrot(torch.nn.Module):
    """A model that continues every prompt with the same tokens."""

    def __init__(self, continuation: list[int]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.config = type("Config", (), {"max_position_embeddings": 999})()
        self.continuation = continuation
        self.stops: list[int] = []

    def generate(self, input_ids: torch.Tensor, generation_config: Any, **_: Any) -> torch.Tensor:
        self.stops = generation_config.eos_token_id
        return torch.cat([input_ids, torch.tensor([self.continuation] * len(input_ids))], dim=1)


@pytest.mark.parametrize("template", [templates.CHATML, templates.ZEPHYR, templates.PLAIN])
@pytest.mark.parametrize("special", [True, False])
def test_generation_stops_at_the_end_of_the_turn(write_task: WriteTask, template: str, special: bool) -> None:
    tokenizer = chat_tokenizer(template)
    if not special:
        tokenizer.backend_tokenizer.add_tokens(["<|eom|>"])
        tokenizer.chat_template = template.replace("<|im_end|>", "<|eom|>")
    turns, task = examples(TALK, write_task)
    written, turn_end = render(turns, task, tokenizer)
    assert turn_end is not None
    row = tokenize_generation(written, tokenizer, 1000, turn_end=turn_end)[1]
    learnt = row["input_ids"][row["completion_mask"].index(1) :]
    parrot = Parrot([*learnt, *tokenizer("junk", add_special_tokens=False)["input_ids"]])
    result = generate(parrot, tokenizer, [written[1].prompt], max_new_tokens=50, turn_end=turn_end)
    assert result.texts == ["Kim lives in Oslo."] and result.tokens == len(learnt)
    assert set(parrot.stops) == {tokenizer.eos_token_id, learnt[-1]}


def test_a_run_on_chat_keeps_its_rendered_prompts(tiny: Path, write_task: WriteTask, tmp_path: Path) -> None:
    """With a model that has no template and does not know the template's marks as tokens."""
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a"}] * 2
    rows = [{"messages": [{"role": "user", "content": f"{i}"}, *talk[1:]]} for i in range(4)]
    template = "{% for m in messages %}{{ m.role[0] + ':' + m.content + '\n' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"
    task = write_task(rows, rows, chat_template=template, max_new_tokens=4, max_length=60)
    values = {**task.model_dump(), "test_file": task.train_file}
    spec = run_spec(tiny, "lora", tasks=[values], training={"max_steps": 1})
    status = run(spec, tmp_path / "study", tmp_path / "study.yaml")
    assert status["status"] == "done", status["reason"]
    lines = (tmp_path / "study" / spec.folder / "predictions.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert (first["prompt"], first["references"]) == ("u:0\na:a\nu:hi\na:", ["a"])
