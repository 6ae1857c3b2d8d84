"""Tasks: formats by their columns, files of each kind, references, splits, and errors that say what to do."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from amplitune.errors import ConfigError, DataError
from amplitune.study import sources
from amplitune.study.formats import FORMATS
from amplitune.study.tasks import Example, TaskConfig, load_task

Rows = list[dict[str, Any]]

PAIRS: Rows = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(20)]


def write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def write_tsv(path: Path, rows: Rows) -> None:
    write_csv(path, rows, "\t")


def write_parquet(path: Path, rows: Rows) -> None:
    pd.DataFrame(rows).to_parquet(path)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    ".jsonl": write_jsonl,
    ".json": write_json,
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".parquet": write_parquet,
}


def task(folder: Path, train: Rows, test: Rows, **settings: Any) -> TaskConfig:
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "test.jsonl", test)
    files = {"train_file": str(folder / "train.jsonl"), "test_file": str(folder / "test.jsonl")}
    return TaskConfig.parse({"name": "t", **files, **settings})


def test_every_reader_has_a_writer_here() -> None:
    assert set(WRITERS) == set(sources.READERS)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_files_of_each_kind_give_the_same_examples(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"instruction": "Say, please", "input": "", "output": 'She said "no".\nTwice.'},
        {"instruction": "Zähle", "input": "1, 2", "output": "NA"},
    ]
    WRITERS[suffix](tmp_path / f"train{suffix}", rows)
    WRITERS[suffix](tmp_path / f"test{suffix}", rows)
    loaded = load_task(
        TaskConfig(
            name="t", train_file=str(tmp_path / f"train{suffix}"), test_file=str(tmp_path / f"test{suffix}")
        )
    )
    assert loaded.test == [
        Example(
            "Instruction: Say, please\nAnswer:\n",
            'She said "no".\nTwice.',
            ('She said "no".\nTwice.',),
            None,
            0,
        ),
        Example("Instruction: Zähle\nInput: 1, 2\nAnswer:\n", "NA", ("NA",), None, 1),
    ]


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
    tmp_path: Path, columns: tuple[str, ...], expected: str, roles: str
) -> None:
    rows = [{column: f"{column} {i}" for column in columns} for i in range(10)]
    test = rows if expected != "text-label" else rows[:9]
    loaded = load_task(task(tmp_path, rows, test))
    assert loaded.kind == FORMATS[expected].kind
    assert loaded.format_note.startswith(
        f"train.jsonl: {expected} ({roles}); test.jsonl: {expected} ({roles})"
    )


def test_explicit_columns_and_template(tmp_path: Path) -> None:
    rows = [{"mr": f"a[{i}]", "ref": f"r{i}", "prompt": "not this"} for i in range(10)]
    loaded = load_task(
        task(
            tmp_path,
            rows,
            rows[:1],
            columns={"prompt": "mr", "completion": "ref"},
            prompt_template="{{data}} {prompt} =>",
            separator=" ",
            substitutions={"[": " is ", "]": ""},
        )
    )
    assert loaded.test == [Example("{data} a is 0 => ", "r0", ("r0",), None, 0)]


def test_braces_in_data_are_text(tmp_path: Path) -> None:
    rows = [{"instruction": "Fill {input} in {0}", "input": f"x{i}", "output": "y"} for i in range(3)]
    assert load_task(task(tmp_path, rows, rows)).test[0].prompt == (
        "Instruction: Fill {input} in {0}\nInput: x0\nAnswer:\n"
    )


def test_evaluation_rows_with_one_prompt_are_one_example(tmp_path: Path) -> None:
    test = [
        {"prompt": "a", "completion": "1"},
        {"prompt": "b", "completion": "2"},
        {"prompt": "a", "completion": "3"},
        {"prompt": "a", "completion": "1"},
    ]
    loaded = load_task(task(tmp_path, PAIRS[:18] + test[:1] + test[2:3], test))
    assert loaded.test == [
        Example("a\n", "1", ("1", "3"), None, 0),
        Example("b\n", "2", ("2",), None, 1),
    ]
    everything = loaded.train + loaded.validation
    assert sum(len(example.references) for example in everything) == 20, (
        "training rows are not merged or lost"
    )


def test_references_train_one_example_each_and_test_together(tmp_path: Path) -> None:
    rows: Rows = [{"prompt": f"p{i}", "references": [f"x{i}", f"y{i}"]} for i in range(10)]
    loaded = load_task(task(tmp_path, rows, rows[:1], validation_file=str(tmp_path / "test.jsonl")))
    assert [(e.prompt, e.completion) for e in loaded.train[:3]] == [
        ("p0\n", "x0"),
        ("p0\n", "y0"),
        ("p1\n", "x1"),
    ]
    assert len(loaded.train) == 20
    assert loaded.test == loaded.validation == [Example("p0\n", "x0", ("x0", "y0"), None, 0)]


def test_validation_is_carved_from_training_prompts_only(tmp_path: Path) -> None:
    rows: Rows = [{"prompt": f"p{i % 30}", "completion": f"c{i}"} for i in range(60)]
    test = [{"prompt": "held out", "completion": "z"}]
    loaded = load_task(task(tmp_path, rows, test))
    trained, validated = ({e.prompt for e in split} for split in (loaded.train, loaded.validation))
    assert (len(trained), len(validated), len(loaded.train)) == (27, 3, 54)
    assert not trained & validated
    assert "held out\n" not in trained | validated
    assert "no validation data: 6 examples split off the training data, seed 0" in loaded.format_note
    assert load_task(task(tmp_path, rows, test)) == loaded
    assert {e.prompt for e in load_task(task(tmp_path, rows, test, data_seed=1)).validation} != validated


def test_a_given_validation_file_leaves_training_whole(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.jsonl", PAIRS[:2])
    loaded = load_task(task(tmp_path, PAIRS, PAIRS[2:3], validation_file=str(tmp_path / "validation.jsonl")))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (20, 2, 1)


def test_subsets_are_seeded_and_keep_order(tmp_path: Path) -> None:
    limits = {"max_train_examples": 5, "max_validation_examples": 1, "max_test_examples": 4}
    loaded = load_task(task(tmp_path, PAIRS, PAIRS, **limits))
    assert [len(split) for split in (loaded.train, loaded.validation, loaded.test)] == [5, 1, 4]
    for split in (loaded.train, loaded.test):
        indices = [example.index for example in split]
        assert indices == sorted(set(indices))
        assert all(example.completion == f"c{example.index}" for example in split)
    assert load_task(task(tmp_path, PAIRS, PAIRS, **limits)) == loaded
    assert load_task(task(tmp_path, PAIRS, PAIRS, data_seed=3, **limits)).test != loaded.test


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    loaded = load_task(task(tmp_path, [*PAIRS, {"prompt": "p", "completion": " "}], PAIRS))
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
    tmp_path: Path, values: list[Any], settings: Mapping[str, Any], labels: list[str], numbers: list[int]
) -> None:
    rows = [{"text": f"t{i}", "label": value} for i, value in enumerate(values * 2)]
    loaded = load_task(
        task(tmp_path, rows, rows[:2], validation_file=str(tmp_path / "test.jsonl"), **settings)
    )
    assert loaded.labels == labels
    assert [example.label for example in loaded.test] == numbers
    assert loaded.test[0].prompt == "t0"


def test_zoo_tasks_come_from_the_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = pytest.importorskip("amplitune.zoo.tasks")

    def generate(name: str) -> dict[str, Rows]:
        assert name == "pairs"
        return {
            "train": PAIRS[:10],
            "validation": PAIRS[10:12],
            "test": [{"prompt": "q", "references": ["a", "b"]}],
        }

    monkeypatch.setattr(zoo, "TASKS", {"pairs": generate})
    monkeypatch.setattr(zoo, "generate", generate)
    loaded = load_task(TaskConfig(name="t", dataset_name="zoo:pairs"))
    assert (len(loaded.train), len(loaded.validation)) == (10, 2)
    assert loaded.test == [Example("q\n", "a", ("a", "b"), None, 0)]
    with pytest.raises(DataError, match=r"'zoo:pair'.*\n.*Did you mean 'pairs'"):
        load_task(TaskConfig(name="t", dataset_name="zoo:pair"))


def test_the_bundled_tasks_load() -> None:
    zoo = pytest.importorskip("amplitune.zoo.tasks")
    kinds = {}
    for name in zoo.TASKS:
        loaded = load_task(TaskConfig(name="t", dataset_name=f"zoo:{name}"))
        assert loaded.train and loaded.validation and loaded.test
        assert "no validation data" not in loaded.format_note
        kinds[name] = loaded.kind
    assert len(kinds) >= 3
    assert set(kinds.values()) == {"generation", "classification"}


def test_a_hub_dataset_is_read_by_its_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {
            "sentence": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["unacceptable", "acceptable"]),
        }
    )
    split = datasets.Dataset.from_dict({"sentence": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    asked = []

    def load_dataset(name: str, config_name: str | None) -> dict[str, Any]:
        asked.append((name, config_name))
        return {"train": split, "dev": split, "unlabelled": split.map(lambda row: {"label": -1})}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = {"name": "t", "dataset_name": "nyu-mll/glue", "dataset_config_name": "cola"}
    loaded = load_task(TaskConfig.parse({**settings, "test_split": "dev"}))
    assert asked == [("nyu-mll/glue", "cola")]
    assert loaded.labels == ["acceptable", "unacceptable"]
    assert [example.label for example in loaded.test] == [0, 1, 0]
    with pytest.raises(
        DataError, match=r"`test_split`.*'test' is not there.*\n.*'train', 'dev', 'unlabelled'"
    ):
        load_task(TaskConfig.parse(settings))
    with pytest.raises(DataError, match=r"row 0 .*has none.*\n.*some published test splits have no labels"):
        load_task(TaskConfig.parse({**settings, "test_split": "unlabelled"}))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'nobody/nothing' on the Hub (OfflineModeIsEnabled)"),
        datasets.exceptions.DatasetNotFoundError("Dataset 'nobody/nothing' doesn't exist on the Hub"),
        datasets.exceptions.DatasetGenerationError("An error occurred while generating the dataset"),
        ValueError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hub_dataset_out_of_reach_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load_dataset(*_: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = rf"(?s)'nobody/nothing' cannot: {type(error).__name__}: .*Without a network: .*set train_file"
    with pytest.raises(DataError, match=message):
        load_task(TaskConfig(name="t", dataset_name="nobody/nothing"))


def test_a_local_folder_is_read_by_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    for split, rows in (("train", PAIRS), ("validation", PAIRS[:3]), ("test", PAIRS[:2])):
        write_jsonl(folder / f"{split}.jsonl", rows)
    loaded = load_task(TaskConfig(name="t", dataset_name=str(folder)))
    assert [len(split) for split in (loaded.train, loaded.validation, loaded.test)] == [20, 3, 2]
    assert loaded.test[1] == Example("p1\n", "c1", ("c1",), None, 1)


GOOD = '{"prompt": "a", "completion": "b"}\n'

BROKEN_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "line": ("bad.jsonl", GOOD + '{"prompt": "a",\n', r"bad\.jsonl:2 is not readable: .*\nCorrect or delete"),
    "list": ("bad.jsonl", GOOD + "[1, 2]\n", r"must be a JSON object.*bad\.jsonl:2 holds list"),
    "json": ("bad.json", '[{"prompt": "a"},\n {"prompt" "b"}]', r"bad\.json:2 is not readable"),
    "json item": ("bad.json", '["a"]', "item 0 of .*holds str 'a'"),
    "csv": ("bad.csv", "prompt,completion\na,b\na,b,c\n", r"as many fields as its header \(2\).*bad\.csv:3"),
    "csv quote": ("bad.csv", 'prompt,completion\na,"b\n', r"bad\.csv:\d is not: unexpected end"),
    "parquet": ("bad.parquet", "no parquet", "must be a Parquet file"),
    "utf-8": ("bad.jsonl", b'{"prompt": "\xff"}\n', "must be UTF-8 text"),
    "empty": ("bad.jsonl", "\n", r"must hold at least one row, but is empty"),
    "empty csv": ("bad.csv", "prompt,completion\n", r"must hold at least one row, but is empty"),
    "pickle": ("bad.pkl", "x", r"must end in one of \.jsonl, .*but is '.*bad\.pkl'"),
}


@pytest.mark.parametrize("case", sorted(BROKEN_FILES))
def test_broken_files_are_named_with_their_line(tmp_path: Path, case: str) -> None:
    name, content, message = BROKEN_FILES[case]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    write_jsonl(tmp_path / "good.jsonl", PAIRS)
    config = TaskConfig(name="t", train_file=str(tmp_path / "good.jsonl"), test_file=str(tmp_path / name))
    with pytest.raises(DataError, match=message):
        load_task(config)


def test_a_missing_file_names_its_setting_and_its_neighbours(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", PAIRS)
    config = TaskConfig(
        name="t", train_file=str(tmp_path / "train.jsonl"), test_file=str(tmp_path / "trian.jsonl")
    )
    with pytest.raises(
        DataError, match=r"`test_file` must be an existing file.*\nDid you mean 'train.jsonl'"
    ):
        load_task(config)


BAD_DATA: dict[str, tuple[Rows, Rows, dict[str, Any], str]] = {
    "no format": (
        [{"a": "x", "b": "y"}],
        PAIRS,
        {},
        r"`format` of task 't' cannot be recognised.*'a', 'b'.*\n.*prompt-completion \(prompt, completion or",
    ),
    "chat": ([{"messages": []}], PAIRS, {}, "Chat messages are not read yet"),
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
def test_data_that_does_not_fit_is_a_data_error(tmp_path: Path, case: str) -> None:
    train, test, settings, message = BAD_DATA[case]
    with pytest.raises(DataError, match=message):
        load_task(task(tmp_path, train, test, **settings))


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


def test_a_set_kind_that_the_data_contradicts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`kind` of task 't' must fit its data, but is 'classification'"):
        load_task(task(tmp_path, PAIRS, PAIRS, kind="classification"))


def test_metrics_default_to_the_kind_and_include_the_primary() -> None:
    plain = TaskConfig.parse({"name": "t", **FILES})
    assert plain.metric_names("generation") == ["bleu", "rouge1", "rouge2", "rougeL", "perplexity"]
    assert (plain.primary_metric_name("generation"), plain.primary_metric_name("classification")) == (
        "rougeL",
        "accuracy",
    )
    chosen = TaskConfig.parse({"name": "t", **FILES, "metrics": ["rouge1"], "primary_metric": "bleu"})
    assert chosen.metric_names("generation") == ["rouge1", "bleu"]
    alone = TaskConfig.parse({"name": "t", **FILES, "metrics": ["bleu", "rouge1"]})
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
