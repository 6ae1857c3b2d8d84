"""The part that each method plays, from the study's own configuration."""

from amplitune.report.roles import MEANINGS, role_of
from amplitune.study.methods.registry import CONTROLS
from amplitune.study.settings.config import StudyConfig


def test_every_control_is_explained() -> None:
    assert tuple(MEANINGS) == CONTROLS
    assert len(CONTROLS) == 5


def test_the_controls_that_a_study_adds_are_known_as_such() -> None:
    values = {
        "model_name_or_path": "zoo:llama",
        "tasks": [{"name": "a", "dataset_name": "zoo:sentiment"}],
        "methods": ["base", "full", "lora", {"method": "qaa", "name": "q"}],
        "controls": True,
    }
    study = StudyConfig.parse(values).model_dump(mode="json")
    roles = {entry["name"]: role_of(study, entry["name"]) for entry in study["methods"]}
    controls = [role for role in roles.values() if role.kind == "control"]
    assert len(controls) == 5
    assert {role.of for role in controls} == {"q"}
    assert all(role.meaning for role in controls)
    assert roles["full"].kind == roles["base"].kind == "reference"
    assert roles["lora"].kind == roles["q"].kind == "method"


def test_a_reference_is_known_under_any_name_and_a_stranger_is_a_method() -> None:
    study = {"methods": [{"method": "full", "name": "everything"}]}
    assert role_of(study, "everything").kind == "reference"
    assert role_of(study, "gone").kind == "method"
    assert role_of({"methods": [{"method": "lora", "name": "l", "matched_to": 9}]}, "l").parameters == 9
