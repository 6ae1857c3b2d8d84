"""Tasks: the format by the columns, prompts, several references, splits, labels."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from amplitune.study.data.formats import FORMATS
from amplitune.study.data.tasks import Example, TaskConfig, load_task

Rows = list[dict[str, Any]]
WriteTask = Callable[..., TaskConfig]

PAIRS: Rows = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(20)]


@pytest.mark.parametrize(
    ("columns", "expected", "roles"),
    [
        (("instruction", "input", "output"), "alpaca", "instruction=instruction, output=output, input=input"),
        (("instruction", "output"), "alpaca", "instruction=instruction, output=output"),
        (("instruction", "response"), "alpaca", "instruction=instruction, output=response"),
        (("prompt", "completion"), "prompt-completion", "prompt=prompt, completion=completion"),
        (("input", "target"), "prompt-completion", "prompt=input, completion=target"),
        (("input", "output"), "prompt-completion", "prompt=input, completion=output"),
        (("category", "input", "references"), "prompt-completion", "prompt=input, references=references"),
        (("question", "answer"), "prompt-completion", "prompt=question, completion=answer"),
        (("text", "label"), "text-label", "text=text, label=label"),
        (("idx", "sentence", "label"), "text-label", "text=sentence, label=label"),
    ],
)
def test_the_format_is_recognised_by_columns_and_named(
    write_task: WriteTask, columns: tuple[str, ...], expected: str, roles: str
) -> None:
    rows = [{column: f"{column} {i}" for column in columns} for i in range(10)]
    test = rows if expected != "text-label" else rows[:9]
    loaded = load_task(write_task(rows, test))
    assert loaded.kind == FORMATS[expected].kind
    assert loaded.format_note.startswith(
        f"train.jsonl: {expected} ({roles}); test.jsonl: {expected} ({roles})"
    )


def test_explicit_columns_and_template(write_task: WriteTask) -> None:
    rows = [{"mr": f"a[{i}]", "ref": f"r{i}", "prompt": "not this"} for i in range(10)]
    loaded = load_task(
        write_task(
            rows,
            rows[:1],
            columns={"prompt": "mr", "completion": "ref"},
            prompt_template="{{data}} {prompt} =>",
            separator=" ",
            substitutions={"[": " is ", "]": ""},
        )
    )
    assert loaded.test == [Example("{data} a is 0 => ", "r0", ("r0",), None, 0)]


def test_braces_in_data_are_text(write_task: WriteTask) -> None:
    rows = [{"instruction": "Fill {input} in {0}", "input": f"x{i}", "output": "y"} for i in range(3)]
    assert load_task(write_task(rows, rows)).test[0].prompt == (
        "Instruction: Fill {input} in {0}\nInput: x0\nAnswer:\n"
    )


def test_evaluation_rows_with_one_prompt_are_one_example(write_task: WriteTask) -> None:
    test = [
        {"prompt": "a", "completion": "1"},
        {"prompt": "b", "completion": "2"},
        {"prompt": "a", "completion": "3"},
        {"prompt": "a", "completion": "1"},
    ]
    loaded = load_task(write_task(PAIRS[:18] + test[:1] + test[2:3], test))
    assert loaded.test == [
        Example("a\n", "1", ("1", "3"), None, 0),
        Example("b\n", "2", ("2",), None, 1),
    ]
    everything = loaded.train + loaded.validation
    assert sum(len(example.references) for example in everything) == 20, (
        "training rows are not merged or lost"
    )


def test_references_train_one_example_each_and_test_together(tmp_path: Path, write_task: WriteTask) -> None:
    rows: Rows = [{"prompt": f"p{i}", "references": [f"x{i}", f"y{i}"]} for i in range(10)]
    loaded = load_task(write_task(rows, rows[:1], validation_file=str(tmp_path / "test.jsonl")))
    assert [(e.prompt, e.completion) for e in loaded.train[:3]] == [
        ("p0\n", "x0"),
        ("p0\n", "y0"),
        ("p1\n", "x1"),
    ]
    assert len(loaded.train) == 20
    assert loaded.test == loaded.validation == [Example("p0\n", "x0", ("x0", "y0"), None, 0)]


def test_validation_is_carved_from_training_prompts_only(write_task: WriteTask) -> None:
    rows: Rows = [{"prompt": f"p{i % 30}", "completion": f"c{i}"} for i in range(60)]
    test = [{"prompt": "held out", "completion": "z"}]
    loaded = load_task(write_task(rows, test))
    trained, validated = ({e.prompt for e in split} for split in (loaded.train, loaded.validation))
    assert (len(trained), len(validated), len(loaded.train)) == (27, 3, 54)
    assert not trained & validated
    assert "held out\n" not in trained | validated
    assert "no validation data: 6 examples split off the training data, seed 0" in loaded.format_note
    assert load_task(write_task(rows, test)) == loaded
    assert {e.prompt for e in load_task(write_task(rows, test, data_seed=1)).validation} != validated


def test_a_given_validation_file_leaves_training_whole(tmp_path: Path, write_task: WriteTask) -> None:
    (tmp_path / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS[:2]))
    loaded = load_task(write_task(PAIRS, PAIRS[2:3], validation_file=str(tmp_path / "validation.jsonl")))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (20, 2, 1)


def test_subsets_are_seeded_and_keep_order(write_task: WriteTask) -> None:
    limits = {"max_train_examples": 5, "max_validation_examples": 1, "max_test_examples": 4}
    loaded = load_task(write_task(PAIRS, PAIRS, **limits))
    assert [len(split) for split in (loaded.train, loaded.validation, loaded.test)] == [5, 1, 4]
    for split in (loaded.train, loaded.test):
        indices = [example.index for example in split]
        assert indices == sorted(set(indices))
        assert all(example.completion == f"c{example.index}" for example in split)
    assert load_task(write_task(PAIRS, PAIRS, **limits)) == loaded
    assert load_task(write_task(PAIRS, PAIRS, data_seed=3, **limits)).test != loaded.test


def test_rows_without_an_answer_are_left_out_and_counted(write_task: WriteTask) -> None:
    loaded = load_task(write_task([*PAIRS, {"prompt": "p", "completion": " "}], PAIRS))
    assert len(loaded.train) + len(loaded.validation) == 20
    assert "1 of 21 rows of train.jsonl have no answer and are left out" in loaded.format_note


@pytest.mark.parametrize(
    ("values", "settings", "labels", "numbers"),
    [
        ([1, 0], {}, ["0", "1"], [1, 0]),
        ([2.0, 10.0], {}, ["2", "10"], [0, 1]),
        (["pos", "neg"], {}, ["neg", "pos"], [1, 0]),
        (["pos", "neg"], {"labels": ["pos", "neg"]}, ["pos", "neg"], [0, 1]),
        ([1, 0], {"labels": ["bad", "good"]}, ["bad", "good"], [1, 0]),
        ([0, 1], {"labels": [1, 0]}, ["1", "0"], [1, 0]),
        ([True, False], {}, ["False", "True"], [1, 0]),
    ],
)
def test_labels_have_names_and_an_order(
    tmp_path: Path,
    write_task: WriteTask,
    values: list[Any],
    settings: Mapping[str, Any],
    labels: list[str],
    numbers: list[int],
) -> None:
    rows = [{"text": f"t{i}", "label": value} for i, value in enumerate(values * 2)]
    loaded = load_task(write_task(rows, rows[:2], validation_file=str(tmp_path / "test.jsonl"), **settings))
    assert loaded.labels == labels
    assert [example.label for example in loaded.test] == numbers
    assert loaded.test[0].prompt == "t0"


SOURCE = {"dataset_name": "zoo:any"}


def test_metrics_default_to_the_kind_and_include_the_primary() -> None:
    plain = TaskConfig.parse({"name": "t", **SOURCE})
    assert plain.metric_names("generation") == ["bleu", "rouge1", "rouge2", "rougeL", "perplexity"]
    assert (plain.primary_metric_name("generation"), plain.primary_metric_name("classification")) == (
        "rougeL",
        "accuracy",
    )
    chosen = TaskConfig.parse({"name": "t", **SOURCE, "metrics": ["rouge1"], "primary_metric": "bleu"})
    assert chosen.metric_names("generation") == ["rouge1", "bleu"]
    alone = TaskConfig.parse({"name": "t", **SOURCE, "metrics": ["bleu", "rouge1"]})
    assert alone.primary_metric_name("generation") == "bleu"
    resolved = alone.resolved("generation")
    assert (resolved.kind, resolved.metrics, resolved.primary_metric) == (
        "generation",
        ["bleu", "rouge1"],
        "bleu",
    )


REAL: dict[str, tuple[dict[str, str], dict[str, int]]] = {
    "viggo": (
        {"train": "viggo.train", "validation": "viggo.valid", "test": "viggo.test_multiref"},
        {
            "train": 5103,
            "validation": 238,
            "test": 359,
            "validation references": 714,
            "test references": 1083,
        },
    ),
    "webnlg": (
        {"train": "webnlg.train_pairs", "validation": "webnlg.dev_multiref", "test": "webnlg.test_multiref"},
        {"train": 18102, "validation": 869, "test": 1862, "test references": 4924},
    ),
    "alpaca5k": (
        {"train": "alpaca5k.train", "test": "alpaca5k.test"},
        {"train": 4048, "validation": 450, "test": 500, "test references": 500},
    ),
    "sst2": (
        {"train": "sst2.train", "validation": "sst2.dev", "test": "sst2.test_labeled"},
        {"train": 67349, "validation": 872, "test": 1821},
    ),
    "cola": (
        {"train": "cola.train", "validation": "cola.dev", "test": "cola.dev"},
        {"train": 8551, "validation": 1043, "test": 1043},
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(REAL))
def test_real_datasets_load_as_they_are_counted(shared: Path, name: str) -> None:
    files, counts = REAL[name]
    paths = {f"{split}_file": str(shared / "data" / f"{file}.jsonl") for split, file in files.items()}
    loaded = load_task(TaskConfig.parse({"name": name, **paths}))
    found = {"train": len(loaded.train), "validation": len(loaded.validation), "test": len(loaded.test)}
    for split in ("validation", "test"):
        found[f"{split} references"] = sum(len(example.references) for example in getattr(loaded, split))
    assert {key: found[key] for key in counts} == counts
    assert loaded.labels == (["0", "1"] if loaded.kind == "classification" else None)
    assert loaded.kind == ("classification" if name in ("sst2", "cola") else "generation")
