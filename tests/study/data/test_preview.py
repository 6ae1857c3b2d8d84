"""The preview: decoded examples with their loss mask, token counts, split sizes, answers that are cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from tests.study.chat_templates import CHATML, chat_tokenizer
from tests.study.tiny_models import study_values, task_values
from transformers import PreTrainedTokenizerFast

from amplitune.study.data.preview import preview, preview_task, preview_text
from amplitune.study.data.tasks import TaskConfig, load_task
from amplitune.study.settings.config import StudyConfig

WriteTask = Callable[..., TaskConfig]
PAIRS: list[dict[str, Any]] = [
    {"prompt": f"Name: Kim{' yes' * i}", "completion": "Kim lives in Oslo."} for i in range(20)
]


def test_the_mask_is_where_the_training_data_has_it(
    write_task: WriteTask, gpt2_like: PreTrainedTokenizerFast, llama_like: PreTrainedTokenizerFast
) -> None:
    config = write_task(PAIRS, PAIRS[:3])
    for tokenizer, start in ((gpt2_like, ""), (llama_like, "<s>")):
        shown = preview_task(load_task(config), config, tokenizer, 2)
        assert len(shown.examples) == 2
        example = shown.examples[0]
        assert example.read.strip().removeprefix(start).strip() == "Name: Kim"
        assert example.read.startswith(start)
        assert example.trained.strip() == f"Kim lives in Oslo.{tokenizer.eos_token}"
        border = len(tokenizer("Name: Kim\n")["input_ids"])
        assert example.read_tokens == border and example.trained_tokens > 1 and not example.cut
        assert [(split.examples, split.cut) for split in shown.splits.values()] == [(18, 0), (2, 0), (3, 0)]
        lines = preview_text(shown).splitlines()
        assert "  train: 18 examples" in lines[1] and "no answers cut" in lines[1]
        assert f"[[Kim lives in Oslo.{tokenizer.eos_token}]]" in "".join(lines).replace("[[ ", "[[")


def test_what_max_length_cuts_is_said(write_task: WriteTask, gpt2_like: PreTrainedTokenizerFast) -> None:
    rows = [{"prompt": f"p{i:02}", "completion": "Kim lives in Oslo."} for i in range(20)]
    config = write_task(rows, [{"prompt": "a", "completion": "b"}])
    length = preview_task(load_task(config), config, gpt2_like).splits["train"].longest
    config = config.model_copy(update={"max_length": length - 2})
    shown = preview_task(load_task(config), config, gpt2_like)
    assert (shown.splits["train"].cut, shown.splits["test"].cut, shown.examples[0].cut) == (18, 0, True)
    text = preview_text(shown)
    assert f"18 answers cut at max_length {length - 2}" in text and "the answer's end is cut" in text
    assert gpt2_like.eos_token not in shown.examples[0].trained


def test_a_turn_of_a_chat(write_task: WriteTask) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "yes"}]
    rows = [{"messages": [{"role": "user", "content": f"x{i}"}, talk[1], *talk]} for i in range(9)]
    config = write_task(rows, rows)
    shown = preview_task(load_task(config), config, chat_tokenizer(CHATML), 2)
    assert [example.trained for example in shown.examples] == ["yes<|im_end|>"] * 2
    assert shown.examples[1].read.endswith(
        "yes<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert [example.row for example in shown.examples] == [0, 0]
    assert shown.splits["train"].cut == 0
    assert "    [[yes<|im_end|>]]\n" in preview_text(shown)


def test_a_text_with_its_label(write_task: WriteTask, llama_like: PreTrainedTokenizerFast) -> None:
    rows = [{"text": "the answer " * (1 + 9 * (i == 1)), "label": ["no", "yes"][i % 2]} for i in range(20)]
    config = write_task(rows, rows[2:4], max_length=8)
    task = load_task(config.model_copy(update={"validation_file": config.test_file}))
    shown = preview_task(task, config, llama_like, 2)
    assert [(example.label, example.cut) for example in shown.examples] == [("no", False), ("yes", True)]
    assert shown.examples[0].trained == "" and shown.examples[1].read_tokens == 8
    assert shown.splits["train"].cut == 1
    text = preview_text(shown)
    assert "label 'yes', cut" in text and "1 texts cut at max_length 8" in text and "[[" not in text


def test_colours_change_no_text(write_task: WriteTask, gpt2_like: PreTrainedTokenizerFast) -> None:
    long = [*PAIRS, {"prompt": "the question " * 40, "completion": "[bold]no[/bold]"}]
    config = write_task(long[::-1], PAIRS)
    shown = preview_task(load_task(config), config, gpt2_like, 3)
    styled = preview_text(shown, styled=True)
    assert "\x1b[1;32m" in styled and "\x1b[2m" in styled
    plain = Text.from_ansi(styled).plain.rstrip("\n")
    assert plain == preview_text(shown).replace("[[", "").replace("]]", "").rstrip("\n")
    assert any("[bold]no[/bold]" in line for line in plain.splitlines()), "data is no markup"


def test_control_characters_are_written_out(
    write_task: WriteTask, gpt2_like: PreTrainedTokenizerFast
) -> None:
    rows = [{"prompt": f"a\x1b[31m{i}", "completion": "b\rc"} for i in range(3)]
    config = write_task(rows, rows)
    text = preview_text(preview_task(load_task(config), config, gpt2_like))
    assert "\\x1b[31m" in text and "b\\rc" in text
    assert not {"\x1b", "\r"} & set(text)


def test_each_task_of_a_study_is_shown(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", None)
    tasks = [task_values(tiny, "pairs"), task_values(tiny, "texts", model_name_or_path=str(tiny / "bert"))]
    text = preview(StudyConfig.parse(study_values(tiny, tasks=tasks, methods=["base", "lora"])), 2)
    assert text.count("training example") == 4
    assert text.index("pairs: generation") < text.index("texts: classification")
    assert "[[The boat looks red.</s>]]" in text and "<s>the boat is red" in text
