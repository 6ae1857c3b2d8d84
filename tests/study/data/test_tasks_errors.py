"""Data and settings that do not fit a task: each error names what was found and what to do."""

from collections.abc import Callable
from typing import Any

import pytest

from amplitune.errors import ConfigError, DataError
from amplitune.study.data.tasks import TaskConfig, load_task

Rows = list[dict[str, Any]]
WriteTask = Callable[..., TaskConfig]

PAIRS: Rows = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(20)]


BAD_DATA: dict[str, tuple[Rows, Rows, dict[str, Any], str]] = {
    "no format": (
        [{"a": "x", "b": "y"}],
        PAIRS,
        {},
        r"`format` of task 't' cannot be recognised.*'a', 'b'.*\n.*prompt-completion \(prompt, completion or",
    ),
    "chat": ([{"messages": []}], PAIRS, {}, "row 0 .* of train.jsonl is an empty list"),
    "column of train": (
        PAIRS,
        PAIRS,
        {"columns": {"completion": "answer"}},
        r"maps completion to 'answer', which is not there\.\nIts columns are: 'prompt', 'completion'",
    ),
    "column of test": (
        PAIRS,
        [{"prompt": "a", "target_text": "b"}],
        {},
        r"'completion' or 'references' a column of test\.jsonl.*\nIts columns are: 'prompt', 'target_text'",
    ),
    "optional column": (
        [{"instruction": "a", "output": "b"}],
        PAIRS,
        {"columns": {"input": "context"}, "format": "alpaca"},
        "'context' is not there",
    ),
    "set format": (
        PAIRS,
        PAIRS,
        {"format": "text-label"},
        "'text' a column of train.jsonl, but does not say",
    ),
    "messages as a prompt": (
        [{"prompt": [{"role": "user", "content": "Hi"}], "completion": "b"}],
        PAIRS,
        {},
        r"'prompt' of train.jsonl .* must hold text as prompt, but row 0 .* holds a list.*\n.*format: chat",
    ),
    "several answers as one": (
        [{"prompt": "a", "completion": ["b", "c"]}],
        PAIRS,
        {},
        r"'completion' .* must hold text as completion, but row 0 .*\nSeveral answers are references",
    ),
    "empty prompt": (
        [*PAIRS, {"prompt": " ", "completion": "b"}],
        PAIRS,
        {},
        r"'prompt', but row 20 .*has none",
    ),
    "no answers": (
        PAIRS,
        [{"prompt": "a", "completion": ""}],
        {},
        "test split of task 't' must have answers",
    ),
    "one prompt": (PAIRS[:1], PAIRS, {}, "at least 2 distinct prompts"),
    "label never seen": (
        [{"text": "a", "label": 0}, {"text": "b", "label": 1}],
        [{"text": "c", "label": 2}],
        {},
        r"labels of the training data \('0', '1'\), but row 0 .* of test.jsonl has '2'",
    ),
    "unlabelled": (
        [{"text": "a", "label": 0}, {"text": "b", "label": 1}],
        [{"text": "c", "label": -1}],
        {},
        "has '-1'.*\n.*marks test data without labels",
    ),
    "missing label": (
        [{"text": "a", "label": 0}, {"text": "b", "label": None}],
        PAIRS,
        {},
        r"train split of task 't' must have a label in column 'label', but row 1 .*has none",
    ),
    "one class": (
        [{"text": "a", "label": 0}, {"text": "b", "label": 0}],
        PAIRS,
        {},
        "at least two classes.*'0'",
    ),
    "label beyond names": (
        [{"text": "a", "label": 0}, {"text": "b", "label": 2}],
        PAIRS,
        {"labels": ["no", "yes"]},
        r"labels of the training data \('no', 'yes'\), but row 1 .*has '2'",
    ),
}


@pytest.mark.parametrize("case", sorted(BAD_DATA))
def test_data_that_does_not_fit_is_a_data_error(write_task: WriteTask, case: str) -> None:
    train, test, settings, message = BAD_DATA[case]
    with pytest.raises(DataError, match=message):
        load_task(write_task(train, test, **settings))


FILES = {"train_file": "a.jsonl", "test_file": "b.jsonl"}

BAD_CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"max_lenght": 5}, "Did you mean 'max_length'"),
    "format": ({"format": "alpacca"}, "`format` must be one of .*but is 'alpacca'.\nDid you mean 'alpaca'"),
    "kind": ({"kind": "generate"}, "`kind` must be one of .*\nDid you mean 'generation'"),
    "metric": ({"metrics": ["rougel"]}, "'rougel' is none.*\nDid you mean .*'rougeL'"),
    "primary metric": ({"primary_metric": "bluu"}, "'bluu' is none.*\nDid you mean 'bleu'"),
    "metric of the other kind": (
        {"format": "alpaca", "metrics": ["accuracy"]},
        r"metrics of generation, but 'accuracy' is one of classification\.\nValid names: 'bertscore_f1'",
    ),
    "kind against format": (
        {"format": "alpaca", "kind": "classification"},
        "`kind` of task 't' must be 'generation'",
    ),
    "role": ({"columns": {"promt": "x"}}, "'promt' is no role.\nDid you mean 'prompt'"),
    "role of another format": (
        {"format": "text-label", "columns": {"prompt": "x"}},
        "'prompt' is no role of format 'text-label'",
    ),
    "template field": ({"prompt_template": "{question}"}, r"but has {question}"),
    "template attribute": ({"prompt_template": "{prompt.__class__}"}, r"but has {prompt.__class__}"),
    "template brace": ({"prompt_template": "{prompt} {"}, "is none: .*\nWrite a brace"),
    "template without field": ({"prompt_template": "hello"}, "names none"),
    "empty substitution": ({"substitutions": {"": "x"}}, "one replaces ''"),
    "labels": ({"labels": ["yes"]}, "at least two distinct names"),
    "no test": ({"test_file": None}, "`test_file` of task 't' must name the data to score.*\nSet test_file"),
    "no train": ({"train_file": None}, "`train_file` of task 't'"),
    "two sources": ({"dataset_name": "x/y"}, "both dataset_name and train_file are set"),
    "no source": ({"train_file": None, "test_file": None}, "neither is set"),
    "number": ({"max_length": 1}, "`max_length`"),
    "not a number": ({"max_new_tokens": "many"}, "`max_new_tokens`"),
}


@pytest.mark.parametrize("case", sorted(BAD_CONFIGS))
def test_a_wrong_setting_is_named_with_the_right_ones(case: str) -> None:
    settings, message = BAD_CONFIGS[case]
    with pytest.raises(ConfigError, match=message):
        TaskConfig.parse({"name": "t", **FILES, **settings})


def test_a_set_kind_that_the_data_contradicts(write_task: WriteTask) -> None:
    with pytest.raises(ConfigError, match="`kind` of task 't' must fit its data, but is 'classification'"):
        load_task(write_task(PAIRS, PAIRS, kind="classification"))
