"""What is checked of a study before weights are loaded, and what the user is told of it."""

from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import PAIRS, study_values, task_values, write_rows

from amplitune.errors import ConfigError, DataError
from amplitune.study.planning.preflight import check
from amplitune.study.running import models
from amplitune.study.settings.config import StudyConfig


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if weights are loaded."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the check loaded weights")

    monkeypatch.setattr(models, "load_model", refuse)
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", refuse)


def checked(values: dict[str, Any]) -> tuple[StudyConfig, list[str]]:
    said: list[str] = []
    return check(StudyConfig.parse(values), said.append), said


def test_a_good_study_passes_with_each_task_resolved(tiny: Path) -> None:
    tasks = [
        task_values(tiny, "pairs"),
        task_values(tiny, "texts", model_name_or_path=str(tiny / "bert")),
    ]
    methods = ["base", "full", "lora", "prefix", "sora", "qaa", "ia3", "adamss"]
    study, said = checked(study_values(tiny, tasks=tasks, methods=methods))
    assert [task.kind for task in study.tasks] == ["generation", "classification"]
    assert [task.primary_metric for task in study.tasks] == ["rougeL", "accuracy"]
    assert study.tasks[1].metrics == ["accuracy", "f1", "mcc"]
    assert any("pairs-train.jsonl: prompt-completion" in line for line in said)
    assert sum("adamss starts from the weights" in line for line in said) == 2


def test_answers_that_lose_their_end_are_counted(tiny: Path) -> None:
    _, said = checked(study_values(tiny, tasks=[task_values(tiny, max_length=9)]))
    assert any("16 of 16 answers of the train split lose their end to max_length 9" in line for line in said)


WRONG: list[tuple[dict[str, Any], dict[str, Any], type[ConfigError], str]] = [
    ({}, {"model_name_or_path": "./absent"}, ConfigError, "`model_name_or_path`"),
    ({}, {"methods": [{"method": "lora", "config": {"target_modules": ["x"]}}]}, ConfigError, "x"),
    ({}, {"methods": ["base", {"method": "qaa", "config": {"n_qubits": 2}}]}, ConfigError, "`n_qubits`"),
    ({"train_file": "/no/such.jsonl"}, {}, DataError, "/no/such.jsonl"),
    ({"columns": {"prompt": "promt"}}, {}, DataError, "promt"),
    ({"max_length": 3}, {}, DataError, "`max_length`"),
    ({"max_new_tokens": 200}, {}, DataError, "`max_new_tokens`"),
    ({"max_new_tokens": 45}, {"methods": ["base", "prefix"]}, DataError, "`max_new_tokens`"),
    ({"metrics": ["bertscore_f1"]}, {}, ConfigError, "`bertscore_model`"),
    ({"format": "text-label"}, {}, DataError, "text"),
]


@pytest.mark.parametrize(("task", "study", "kind", "message"), WRONG, ids=[f"{w[:2]}" for w in WRONG])
def test_what_is_wrong_is_found_before_weights_are_loaded(
    tiny: Path, task: dict[str, Any], study: dict[str, Any], kind: type[ConfigError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        checked(study_values(tiny, tasks=[task_values(tiny, **task)], **study))
    assert message in str(caught.value)


def test_examples_beyond_the_context_of_the_model(tiny: Path, tmp_path: Path) -> None:
    """Position embeddings that run out would be an index error in the middle of a run."""
    long = {"prompt": "door " * 70, "completion": "red"}
    task = task_values(tiny, max_length=512)
    task["train_file"] = write_rows(tmp_path / "long.jsonl", [*PAIRS, long])
    with pytest.raises(DataError, match="64 tokens"):
        checked(study_values(tiny, tasks=[task]))


def test_an_empty_dataset(tiny: Path, tmp_path: Path) -> None:
    task = task_values(tiny) | {"train_file": write_rows(tmp_path / "empty.jsonl", [])}
    with pytest.raises(DataError, match=r"empty\.jsonl"):
        checked(study_values(tiny, tasks=[task]))


def test_several_problems_are_one_error(tiny: Path) -> None:
    """Each is named once, though it may stand in the way of every method."""
    tasks = [
        task_values(tiny, max_length=3),
        {**task_values(tiny), "name": "absent", "test_file": "/no/such.csv"},
    ]
    methods = ["base", "full", {"method": "qaa", "config": {"n_qubits": 2}}]
    with pytest.raises(DataError, match=r"^2 problems\.") as caught:
        checked(study_values(tiny, tasks=tasks, methods=methods))
    assert str(caught.value).count("`max_length`") == 1
    assert str(caught.value).count("/no/such.csv") == 1
    with pytest.raises(ConfigError, match=r"^2 problems\.") as caught_too:
        checked(study_values(tiny, methods=[*methods, {"method": "lora", "config": {"r": 0}}]))
    assert "`n_qubits`" in str(caught_too.value)


def test_matched_variants_are_added(tiny: Path) -> None:
    study, _ = checked(study_values(tiny, methods=["base", "lora", "qaa"], matched_parameters="qaa"))
    names = [method.name for method in study.methods]
    assert names[:3] == ["base", "lora", "qaa"]
    assert {"lora-matched", "qaa-matched"} == set(names[3:])
