"""The configuration of a study: precedence, names, the grid of runs, and one place for every description."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from amplitune.errors import ConfigError
from amplitune.study.data.tasks import TaskConfig
from amplitune.study.methods.registry import METHODS
from amplitune.study.settings.config import MethodConfig, RunSpec, StudyConfig, TrainingConfig, TuningConfig
from amplitune.study.settings.study_file import load_study, to_yaml

TASK = {"name": "t", "dataset_name": "zoo:t"}
STUDY: dict[str, Any] = {"model_name_or_path": "some/model", "tasks": [TASK]}


def write(folder: Path, values: dict[str, Any], name: str = "study.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_precedence_defaults_file_override(tmp_path: Path) -> None:
    path = write(tmp_path, {**STUDY, "training": {"max_steps": 7, "logging_steps": 3}})
    study = load_study(path, ["training.max_steps=9", "seeds=[4, 5]"])
    assert study.training.max_steps == 9
    assert study.training.logging_steps == 3
    assert study.training.eval_steps is None
    assert study.seeds == [4, 5]


def test_overrides_reach_lists_and_absent_mappings(tmp_path: Path) -> None:
    path = write(tmp_path, {**STUDY, "methods": ["base", {"method": "lora", "config": {"r": 2}}]})
    study = load_study(
        path,
        ["tasks.0.max_length=64", "methods.1.config.r=3", "methods.0=qaa", "training.weight_decay=1e-2"],
    )
    assert study.tasks[0].max_length == 64
    assert study.methods[1].config == {"r": 3}
    assert study.methods[0].method == "qaa"
    assert study.training.weight_decay == 0.01


@pytest.mark.parametrize(
    "override", ["training.max_steps", "=3", "tasks.7.name=x", "tasks.x.name=y", "name.first=z"]
)
def test_an_override_that_leads_nowhere(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        load_study(write(tmp_path, STUDY), [override])


def test_numbers_in_exponent_notation_are_numbers(tmp_path: Path) -> None:
    """YAML 1.1 reads 3e-4 as text, which an adapter's config would take as it is."""
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump(STUDY) + "methods:\n- method: sora\n  config: {sparse_lambda: 3e-4, lora_alpha: 1E1}\n"
    )
    assert load_study(path).methods[0].config == {"sparse_lambda": 0.0003, "lora_alpha": 10.0}
    study = load_study(path, ["methods.0.config.sparse_lambda=2e-3"])
    assert study.methods[0].config["sparse_lambda"] == 0.002


WRONG_KEYS: list[tuple[dict[str, Any], str, str]] = [
    ({"sedes": [0]}, "sedes", "seeds"),
    ({"tasks": [{**TASK, "max_lenght": 4}]}, "tasks.0.max_lenght", "max_length"),
    ({"training": {"learnin_rate": 1}}, "training.learnin_rate", "learning_rate"),
    ({"methods": [{"metod": "lora"}]}, "methods.0.metod", "method"),
    (
        {"methods": [{"method": "lora", "training": {"max_step": 1}}]},
        "methods.0.training.max_step",
        "max_steps",
    ),
    (
        {"methods": [{"method": "lora", "config": {"lora_alfa": 1}}]},
        "methods.0.config.lora_alfa",
        "lora_alpha",
    ),
    ({"methods": ["lroa"]}, "method", "lora"),
]


@pytest.mark.parametrize(("change", "key", "near"), WRONG_KEYS, ids=[key for _, key, _ in WRONG_KEYS])
def test_an_unknown_key_is_named_with_its_near_match(
    tmp_path: Path, change: dict[str, Any], key: str, near: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(write(tmp_path, {**STUDY, **change}))
    assert f"`{key}`" in str(caught.value)
    assert "Did you mean" in str(caught.value)
    assert repr(near) in str(caught.value)


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"training": {"max_steps": 0}}, "`training.max_steps`"),
    ({"training": {"max_steps": "many"}}, "`training.max_steps`"),
    ({"training": {"lr_scheduler_type": "liner"}}, "`training.lr_scheduler_type`: must be one of"),
    ({"dtype": "float8"}, "`dtype`"),
    ({"seeds": []}, "`seeds`"),
    ({"seeds": [1, 1]}, "`seeds` must be distinct"),
    ({"seeds": [-1]}, "`seeds.0`"),
    ({"tasks": []}, "`tasks`"),
    ({"methods": []}, "`methods`"),
    ({"methods": ["lora", "lora"]}, "'lora' stands 2 times"),
    ({"tasks": [TASK, TASK]}, "'t' stands 2 times"),
    ({"methods": [{"method": "lora", "name": "a/b"}]}, "'a/b' becomes a folder"),
    ({"tasks": [{**TASK, "name": "../up"}]}, "'../up' becomes a folder"),
    ({"methods": [{"method": "full", "config": {"r": 1}}]}, "`config` must be empty"),
    ({"methods": ["adalora"]}, "refused by AdaLoraConfig"),
    ({"methods": [{"method": "qaa", "config": {"rotation": "RQ"}}]}, "rotation"),
    ({"model_name_or_path": None}, "`model_name_or_path`"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_VALUES, ids=[text for _, text in WRONG_VALUES])
def test_a_wrong_value_is_an_error_that_names_it(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(write(tmp_path, {**STUDY, **change}))
    assert message in str(caught.value)
    assert str(tmp_path / "study.yaml") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [b"tasks: [", b"- a list", b"", b"name: \xff\xfe", b"name: a\nname: b\n"],
    ids=["broken", "a list", "empty", "not UTF-8", "a key twice"],
)
def test_a_file_that_is_no_study(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"study\.yaml"):
        load_study(path)
    with pytest.raises(ConfigError, match="not there"):
        load_study(tmp_path / "absent.yaml")


def test_paths_are_relative_to_what_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "model").mkdir(parents=True)
    (tmp_path / "there" / "encoder").mkdir(parents=True)
    task = {"name": "t", "train_file": "../a.csv", "test_file": "b.csv", "model_name_or_path": "model"}
    chats = [
        {**TASK, "name": "by-file", "chat_template": "chat.jinja"},
        {**TASK, "name": "by-text", "chat_template": "{{ messages[0].content }}"},
    ]
    values = {"model_name_or_path": "model", "bertscore_model": "hub/id", "tasks": [task, *chats]}
    path = write(tmp_path / "here", values | {"held_out_text": "text.txt"})
    monkeypatch.chdir(tmp_path / "there")
    study = load_study(path, ["tasks.0.test_file=c.csv", "bertscore_model=encoder"])
    assert study.model_name_or_path == study.tasks[0].model_name_or_path == str(tmp_path / "here" / "model")
    assert study.tasks[0].train_file == str(tmp_path / "a.csv")
    assert study.tasks[0].test_file == str(tmp_path / "there" / "c.csv")
    assert study.bertscore_model == str(tmp_path / "there" / "encoder")
    assert study.held_out_text == str(tmp_path / "here" / "text.txt")
    assert study.tasks[1].chat_template == str(tmp_path / "here" / "chat.jinja")
    assert study.tasks[2].chat_template == "{{ messages[0].content }}"
    assert load_study(path, ["held_out_text=zoo:text"]).held_out_text == "zoo:text"
    assert load_study(path).bertscore_model == "hub/id"


def test_the_resolved_study_is_the_same_study(tmp_path: Path) -> None:
    methods = ["base", {"method": "lora", "name": "lora-4", "config": {"r": 4, "target_modules": ["q", "v"]}}]
    task = {**TASK, "columns": {"prompt": "p"}, "substitutions": {"[": " is ", "é": "e"}}
    values = {**STUDY, "methods": methods, "tasks": [task], "training": {"learning_rate": 3e-5}}
    study = load_study(write(tmp_path, values))
    (tmp_path / "resolved").mkdir()
    (tmp_path / "resolved" / "study.yaml").write_text(to_yaml(study), encoding="utf-8")
    again = load_study(tmp_path / "resolved" / "study.yaml")
    assert again == study
    assert again.runs() == study.runs()
    assert to_yaml(again) == to_yaml(study)


def test_the_grid_compares_like_with_like_when_it_is_cut_short() -> None:
    study = StudyConfig.parse(
        {**STUDY, "tasks": [TASK, {**TASK, "name": "u"}], "methods": ["base", "qaa"], "seeds": [3, 1]}
    )
    assert [(run.task.name, run.seed, run.method.name) for run in study.runs()] == [
        (task, seed, method) for task in ("t", "u") for seed in (3, 1) for method in ("base", "qaa")
    ]
    assert study.runs()[0].folder == Path("runs/t/base/seed-3")
    assert len({run.folder for run in study.runs()}) == len({run.label for run in study.runs()}) == 8


def test_learning_rates_method_over_study_over_default() -> None:
    methods = [
        "lora",
        {"method": "lora", "name": "own", "training": {"learning_rate": 5e-3, "max_steps": 8}},
        {"method": "lora", "name": "unset", "training": {"learning_rate": None}},
        "ia3",
    ]

    def settings(**training: Any) -> dict[str, TrainingConfig]:
        study = StudyConfig.parse({**STUDY, "methods": methods, "training": training})
        return {run.method.name: run.training for run in study.runs()}

    default = settings()
    assert default["lora"].learning_rate == METHODS["lora"].learning_rate
    assert default["own"].learning_rate == 5e-3
    assert default["unset"].learning_rate == METHODS["lora"].learning_rate
    assert default["ia3"].learning_rate == 1e-3
    assert (default["lora"].max_steps, default["own"].max_steps) == (200, 8)
    of_study = settings(learning_rate=7e-4, max_steps=6)
    assert [of_study[name].learning_rate for name in ("lora", "own", "ia3")] == [7e-4, 5e-3, 7e-4]
    assert [of_study[name].max_steps for name in ("lora", "own")] == [6, 8]


def test_a_task_may_have_a_model_of_its_own() -> None:
    tasks = [TASK, {**TASK, "name": "u", "model_name_or_path": "other/model"}]
    study = StudyConfig.parse({**STUDY, "tasks": tasks, "methods": ["base"]})
    assert [run.model_name_or_path for run in study.runs()] == ["some/model", "other/model"]


def test_every_key_is_described_in_one_place() -> None:
    described = 0
    for model in (StudyConfig, TaskConfig, MethodConfig, TrainingConfig, TuningConfig):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            described += 1
    assert described >= 70
    # A run repeats keys of its study and describes none of them again.
    own = {"task", "method", "seed", "trial"}
    assert set(RunSpec.model_fields) - own <= set(StudyConfig.model_fields)
    assert not any(field.description for field in RunSpec.model_fields.values())
