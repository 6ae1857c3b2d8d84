"""A study's file: each problem is named with the line, or the override, that it comes from."""

from pathlib import Path
from typing import Any

import pytest

from amplitune.errors import ConfigError
from amplitune.study.settings.study_file import load_study

STUDY = """\
model_name_or_path: some/model
tasks:
  - name: first
    dataset_name: zoo:sentiment
  - name: second
    dataset_name: zoo:sentiment
methods:
  - base
  - method: lora
    config:
      r: 4
    training:
      max_steps: 7
training:
  max_steps: 9
  weight_decay: 0.5
"""


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_study(path, overrides)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


WRONG: list[tuple[str, str, int, str, str]] = [
    ("  - name: first\n", "  - name: first\n    max_lenght: 4\n", 4, "tasks.0.max_lenght", "'max_length'"),
    ("  - name: second\n", "  - nme: second\n", 5, "tasks.1.nme", "'name'"),
    ("weight_decay: 0.5", "weight_decai: 0.5", 16, "training.weight_decai", "'weight_decay'"),
    ("weight_decay: 0.5", "weight_decay: -1", 16, "training.weight_decay", "greater than or equal to 0"),
    ("      r: 4", "      rr: 4", 11, "methods.1.config.rr", "'r'"),
    ("      r: 4", "      r: four", 11, "methods.1.config.r", "must be a number, but is 'four'"),
    (
        "      r: 4",
        "      target_modules: [q]\n      use_rslora: 7",
        12,
        "methods.1.config.use_rslora",
        "true",
    ),
    ("      max_steps: 7", "      max_steps: 0", 13, "methods.1.training.max_steps", "equal to 1"),
    ("      max_steps: 7", "      max_stps: 1", 13, "methods.1.training.max_stps", "'max_steps'"),
    ("method: lora", "method: lroa", 9, "method", "'lora'"),
    ("  - base", "  - bse", 8, "method", "'base'"),
    ("training:\n  max", "dtype: float8\ntraining:\n  max", 14, "dtype", "'float32'"),
    ("training:\n  max", "baseline: lra\ntraining:\n  max", 14, "baseline", "'lora'"),
    ("training:\n  max", "tuning: {trials: 0}\ntraining:\n  max", 14, "tuning.trials", "equal to 1"),
    ("some/model", "some/model\nseeds: [0, -1]", 2, "seeds.1", "equal to 0"),
    ("some/model", "some/model\nseeds:\n  - 0\n  - x", 4, "seeds.1", "valid integer"),
    ("max_steps: 9", "max_steps: 9\n  max_steps: 8", 16, "training.max_steps", "stands 2 times"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "says"), WRONG, ids=[f"{w[3]}-{w[2]}" for w in WRONG])
def test_a_problem_has_the_line_of_its_key(
    tmp_path: Path, old: str, new: str, line: int, key: str, says: str
) -> None:
    assert STUDY.count(old) == 1
    found = [said for said in problems(tmp_path, STUDY.replace(old, new)) if f"`{key}`" in said]
    assert len(found) == 1
    assert found[0].startswith(f"study.yaml:{line}: ")
    assert says in found[0]


def test_a_missing_key_has_the_line_of_what_lacks_it(tmp_path: Path) -> None:
    text = STUDY.replace(
        "  - name: second\n    dataset_name: zoo:sentiment\n", "  - dataset_name: zoo:sentiment\n"
    )
    assert problems(tmp_path, text) == ["study.yaml:5: `tasks.1.name` is missing. Set it."]
    assert problems(tmp_path, "tasks: [{name: t, dataset_name: zoo:x}]\n") == [
        "study.yaml: `model_name_or_path` is missing. Set it."
    ]


def test_several_problems_are_reported_together(tmp_path: Path) -> None:
    text = STUDY.replace("      r: 4", "      rr: 4\n      lora_alpa: 1").replace(
        "max_steps: 7", "max_steps: 0"
    )
    found = problems(
        tmp_path, text.replace("dataset_name: zoo", "datasetname: zoo"), "sedes=[1]", "a", "tasks.9.x=1"
    )
    assert [said.partition(": `")[0] for said in found if ": `" in said] == [
        "study.yaml:4",
        "study.yaml:6",
        "study.yaml:11",
        "study.yaml:12",
        "study.yaml:14",
        "override 'sedes=[1]'",
    ]
    assert sum("form key=value, but is 'a'" in said for said in found) == 1
    assert sum("'tasks.9.x=1' leads nowhere" in said for said in found) == 1
    assert len(found) == 8


OVERRIDES = [
    ("tasks.0.max_lenght=64", "tasks.0.max_lenght"),
    ("training.max_steps=many", "training.max_steps"),
    ("training={max_steps: 0}", "training.max_steps"),
    ("methods.1.config.r=four", "methods.1.config.r"),
    ("methods.-1.config.q=1", "methods.1.config.q"),
    ("methods=[lora, {method: qaa, config: {dept: 1}}]", "methods.1.config.dept"),
]


@pytest.mark.parametrize(("override", "key"), OVERRIDES, ids=[key for _, key in OVERRIDES])
def test_a_problem_of_an_override_names_it(tmp_path: Path, override: str, key: str) -> None:
    (found,) = problems(tmp_path, STUDY, override)
    assert found.startswith(f"override {override!r}: `{key}`")


def test_overrides_go_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    training = load_study(path, ["training.max_steps=3", "training.max_steps=5"]).training
    assert (training.max_steps, training.weight_decay, training.logging_steps) == (5, 0.5, 5)
    runs = {spec.method.name: spec.training.max_steps for spec in load_study(path).runs()}
    assert runs == {"base": 9, "lora": 7}


def test_keys_that_are_merged_keep_the_line_on_which_they_stand(tmp_path: Path) -> None:
    text = STUDY.replace("  - name: first\n", "  - &common\n    name: first\n    max_lenght: 4\n").replace(
        "  - name: second\n    dataset_name: zoo:sentiment\n", "  - <<: *common\n    name: second\n"
    )
    found = problems(tmp_path, text)
    assert [said.partition(" is")[0] for said in found] == [
        "study.yaml:5: `tasks.0.max_lenght`",
        "study.yaml:5: `tasks.1.max_lenght`",
    ]


@pytest.mark.parametrize(("text", "line"), [("name: a\ntasks: [\n", 3), ("name: a\n  b: c\n", 2)])
def test_broken_yaml_has_its_line(tmp_path: Path, text: str, line: int) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(f"study.yaml:{line}: this is not valid YAML")


def test_an_alias_to_what_contains_it_ends(tmp_path: Path) -> None:
    found: Any = problems(tmp_path, "a: &a\n  b: *a\n")
    assert any("`a`" in said for said in found)
