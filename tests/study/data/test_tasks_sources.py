"""Sources of a task's rows: files of each kind, the hub, the zoo; a broken file is named with its line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from amplitune.errors import DataError
from amplitune.study.data import sources
from amplitune.study.data.tasks import Example, TaskConfig, load_task
from amplitune.zoo import tasks as zoo_tasks

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


def test_zoo_tasks_come_from_the_generators(monkeypatch: pytest.MonkeyPatch) -> None:

    def generate(name: str) -> dict[str, Rows]:
        assert name == "pairs"
        return {
            "train": PAIRS[:10],
            "validation": PAIRS[10:12],
            "test": [{"prompt": "q", "references": ["a", "b"]}],
        }

    monkeypatch.setattr(zoo_tasks, "TASKS", {"pairs": generate})
    monkeypatch.setattr(zoo_tasks, "generate", generate)
    loaded = load_task(TaskConfig(name="t", dataset_name="zoo:pairs"))
    assert (len(loaded.train), len(loaded.validation)) == (10, 2)
    assert loaded.test == [Example("q\n", "a", ("a", "b"), None, 0)]
    with pytest.raises(DataError, match=r"'zoo:pair'.*\n.*Did you mean 'pairs'"):
        load_task(TaskConfig(name="t", dataset_name="zoo:pair"))


def test_the_bundled_tasks_load() -> None:
    kinds = {}
    for name in zoo_tasks.TASKS:
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
