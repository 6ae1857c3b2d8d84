"""The controls of a study: which there are, what they share with their method, and that they train."""

from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import study_values
from tests.study.training_run import Run

from amplitune.adapters import count_parameters
from amplitune.adapters.control.config import ControlConfig
from amplitune.adapters.qaa.config import QAAConfig
from amplitune.errors import ConfigError
from amplitune.study.methods.controls import controls_left_out, with_controls
from amplitune.study.methods.registry import CONTROLS, METHODS, REFERENCES, adapter_config, find_method
from amplitune.study.settings.config import StudyConfig
from amplitune.study.settings.method_config import MethodConfig
from amplitune.study.settings.study_file import load_study, to_yaml

TASK = {"name": "t", "dataset_name": "zoo:t"}
SUFFIXES = ("frozen", "no-entangler", "projection", "squares", "givens")


def controls_of(**config: Any) -> dict[str, Any]:
    """The peft configs of the controls of one QAA method, by what its name gains."""
    methods = with_controls([MethodConfig(method="qaa", name="q", config=config)])
    return {
        m.name.removeprefix("q-"): adapter_config(find_method(m.method), "generation", m.config)
        for m in methods[1:]
    }


def test_each_qaa_method_is_followed_by_its_five_controls() -> None:
    methods = [MethodConfig(method=name) for name in ("base", "qaa", "lora")]
    methods.append(MethodConfig(method="qaa", name="deep", config={"depth": 3}))
    found = with_controls(methods)
    assert [method.name for method in found] == [
        "base",
        *("qaa", *(f"qaa-{suffix}" for suffix in SUFFIXES)),
        "lora",
        *("deep", *(f"deep-{suffix}" for suffix in SUFFIXES)),
    ]
    assert [m.control_of for m in found] == [None, None, *["qaa"] * 5, None, None, *["deep"] * 5]
    assert [method.method for method in found if method.control_of == "deep"] == list(CONTROLS)
    assert controls_left_out(methods) == []
    assert with_controls(found) == found


def test_controls_have_their_methods_config() -> None:
    shared: dict[str, Any] = {
        "target_modules": ["q_proj"],
        "exclude_modules": [r"layers\.0"],
        "n_qubits": 6,
        "circuits": 2,
        "scaling": 0.5,
        "up_proj_bias": False,
    }
    own: dict[str, Any] = {
        "rotation": "Rot",
        "rotation_after": "RY",
        "depth": 3,
        "readout": "Z+ZZ",
        "norm": "restore",
    }
    qaa = QAAConfig(**shared, **own)
    controls = controls_of(**shared, **own)
    assert list(controls) == list(SUFFIXES)
    for name, config in controls.items():
        for key in shared:
            assert getattr(config, key) == getattr(qaa, key), (name, key)
    frozen, unentangled = controls["frozen"], controls["no-entangler"]
    for config, changed in ((frozen, {"train_angles": False}), (unentangled, {"entangler": "none"})):
        assert isinstance(config, QAAConfig)
        assert {k: getattr(config, k) for k in (*own, "entangler", "train_angles")} == {
            **{k: getattr(qaa, k) for k in (*own, "entangler", "train_angles")},
            **changed,
        }
    for name in SUFFIXES[2:]:
        config = controls[name]
        assert isinstance(config, ControlConfig)
        assert config.features == name
        assert config.columns(24) == 2 * qaa.circuit(24).n_observables == 42
        assert config.norm == ("drop" if name == "projection" else "restore")
    assert (controls["givens"].depth, controls["givens"].rotations) == (3, 4)


@pytest.mark.parametrize(
    "config", [{}, {"preset": "paper"}, {"readout": ["X0", "Z0 Z1"]}, {"readout": "XYZ"}]
)
def test_controls_are_as_wide_as_their_circuit(config: dict[str, Any]) -> None:
    controls = controls_of(**config)
    width = QAAConfig(**config).circuit(24).n_observables
    assert [controls[name].columns(24) for name in SUFFIXES[2:]] == [width] * 3
    assert [controls[name].circuit(24).n_observables for name in SUFFIXES[:2]] == [width] * 2


def test_the_preset_is_written_out_so_that_tuning_leaves_it_alone() -> None:
    for method in with_controls([MethodConfig(method="qaa", config={"preset": "paper"})])[1:3]:
        assert method.config.items() >= {"depth": 1, "circuits": 1, "readout": "Z"}.items()
        assert "preset" not in method.config


def test_controls_have_their_methods_training_and_search_space() -> None:
    space = {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "training.weight_decay": [0.0, 0.1],
        "config.depth": [1, 2],
        "config.circuits": [1, 2],
        "config.readout": ["Z", "Z+ZZ"],
        "config.entangler": ["ring", "linear"],
        "config.rotation": ["RY", "Rot"],
    }
    training = {"learning_rate": 3e-3, "weight_decay": 0.1}
    method = MethodConfig(method="qaa", training=training, search_space=space)
    controls = with_controls([method])[1:]
    assert [control.training for control in controls] == [training] * 5
    kept = {control.name: control.search_space or {} for control in controls}
    both = {"learning_rate", "training.weight_decay", "config.circuits"}
    assert kept["qaa-frozen"] == space
    assert kept["qaa-no-entangler"].keys() == space.keys() - {"config.entangler"}
    assert kept["qaa-projection"].keys() == kept["qaa-squares"].keys() == both | {"config.width"}
    assert kept["qaa-givens"].keys() == both | {"config.width", "config.depth"}
    assert kept["qaa-givens"]["config.width"] == ["Z", "Z+ZZ"]
    assert [c.search_space for c in with_controls([MethodConfig(method="qaa")])[1:]] == [None] * 5


@pytest.mark.parametrize(
    ("config", "missing", "reason"),
    [
        ({"train_angles": False}, ["frozen"], "frozen already"),
        ({"entangler": "none"}, ["no-entangler"], "no entangler"),
        ({"entangler": []}, ["no-entangler"], "no entangler"),
        ({"readout": "interferometric"}, ["squares", "givens"], "linear in the input"),
        ({"readout": "probabilities"}, ["squares", "givens"], "not like the probabilities"),
        ({"depth_pattern": {"q_proj": 2}}, ["givens"], "has one depth for all modules"),
        ({"share_circuit": True}, ["givens"], "serves several of its modules"),
        ({"fused_parts": {"c_attn": ["q"]}}, ["projection", "squares", "givens"], "parts of fused"),
        (
            {"readout_pattern": {"q_proj": "Z+ZZ"}},
            ["projection", "squares", "givens"],
            "has one width for all modules",
        ),
    ],
)
def test_a_control_that_is_not_defined_is_left_out_with_its_reason(
    config: dict[str, Any], missing: list[str], reason: str
) -> None:
    method = MethodConfig(method="qaa", name="q", config=config)
    assert list(controls_of(**config)) == [suffix for suffix in SUFFIXES if suffix not in missing]
    sentences = controls_left_out([method])
    assert len(sentences) == len(missing)
    for sentence, suffix in zip(sentences, missing, strict=True):
        assert sentence.startswith(f"q has no control q-{suffix}: ")
        assert reason in sentence
    assert controls_left_out(with_controls([method])) == sentences


def test_a_study_without_qaa_is_told_that_controls_add_nothing() -> None:
    methods = [MethodConfig(method="lora"), MethodConfig(method="qaa-frozen")]
    assert with_controls(methods) == methods
    assert controls_left_out(methods) == ["`controls` adds nothing: the study has no QAA method."]


def test_a_study_expands_its_controls_once(tmp_path: Path) -> None:
    values = {"model_name_or_path": "some/model", "tasks": [TASK], "methods": ["lora", "qaa"]}
    assert len(StudyConfig.parse(values).methods) == 2
    study = StudyConfig.parse({**values, "controls": True})
    assert [method.name for method in study.methods] == ["lora", "qaa", *CONTROLS]
    (tmp_path / "study.yaml").write_text(to_yaml(study), encoding="utf-8")
    again = load_study(tmp_path / "study.yaml")
    assert again == study
    assert {run.training.learning_rate for run in study.runs() if run.method.name != "lora"} == {2e-3}


def test_a_name_that_is_taken_and_a_control_of_nothing_are_errors() -> None:
    values = {"model_name_or_path": "some/model", "tasks": [TASK], "controls": True}
    with pytest.raises(
        ConfigError, match=r"'qaa-frozen' must be free for a control of 'qaa'.*control_of: qaa"
    ):
        StudyConfig.parse({**values, "methods": ["qaa", "qaa-frozen"]})
    own = {"method": "qaa-frozen", "control_of": "qaa", "config": {"depth": 2}}
    study = StudyConfig.parse({**values, "methods": ["qaa", own]})
    assert [m.config for m in study.methods if m.name == "qaa-frozen"] == [{"depth": 2}]
    assert len(study.methods) == 6
    with pytest.raises(ConfigError, match="`control_of` of method 'qaa-frozen' must be the name of a method"):
        StudyConfig.parse({**values, "methods": ["lora", own]})


def test_the_references_and_controls_are_methods() -> None:
    assert {*REFERENCES, *CONTROLS} < {*METHODS}
    default = StudyConfig.parse({"model_name_or_path": "some/model", "tasks": [TASK]})
    assert [m.method for m in default.methods] == ["base", "bias", "full", "lora", "prefix", "sora", "qaa"]
    assert default.baseline == "lora"


@pytest.mark.parametrize("model", ["llama", "bert"])
@pytest.mark.parametrize("method", ["bias", *CONTROLS])
def test_a_run_of_each_trains(tiny: Path, tmp_path: Path, method: str, model: str) -> None:
    study = StudyConfig.parse(study_values(tiny, model, methods=["bias", "qaa"], controls=True))
    (config,) = (found for found in study.methods if found.name == method)
    run = Run(tiny, tmp_path, config.model_dump(exclude={"control_of"}), model)
    count = count_parameters(run.model)
    before = run.state()
    trainable = {name for name, parameter in run.model.named_parameters() if parameter.requires_grad}
    run.trainer.train()
    after = run.state()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed <= trainable
    assert len(changed) >= 0.8 * len(trainable)
    assert (count.frozen_angles > 0) == (method == "qaa-frozen")
    assert (count.angles > 0) == (method == "qaa-no-entangler")
    losses = [event["loss"] for event in run.events if event["event"] == "train"]
    assert len(losses) == 2
    assert ("classifier" in " ".join(changed)) == (model == "bert")
