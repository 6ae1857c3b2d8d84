"""The ends of a study's own search space, tried on the model before anything runs."""

from collections.abc import Callable
from typing import Any

import pytest

from amplitune.errors import ConfigError
from amplitune.study.planning.preflight import check
from amplitune.study.settings.config import RunSpec, StudyConfig
from amplitune.study.tuning.extremes import check_extremes

SPACE = {
    "learning_rate": [1e-3, 1e-2],
    "config.r": [4, 64, 2],
    "config.lora_dropout": {"low": 0.0, "high": 0.5},
    "config.init_lora_weights": [True, "gaussian"],
}


def test_each_setting_of_the_adapter_is_tried_at_its_ends(tiny_study: Callable[..., StudyConfig]) -> None:
    (spec,) = tiny_study(methods=[{"method": "lora", "search_space": SPACE}]).runs()
    tried: list[dict[str, Any]] = []
    check_extremes(spec, lambda other: tried.append(other.method.config))
    assert tried == [
        {"r": 2},
        {"r": 64},
        {"lora_dropout": 0.0},
        {"lora_dropout": 0.5},
        {"init_lora_weights": True},
        {"init_lora_weights": "gaussian"},
    ]


def test_a_value_that_does_not_fit_is_named(tiny_study: Callable[..., StudyConfig]) -> None:
    (spec,) = tiny_study(methods=[{"method": "lora", "search_space": SPACE}]).runs()

    def refuse(other: RunSpec) -> None:
        if other.method.config.get("r") == 64:
            raise ConfigError("too wide.")

    with pytest.raises(ConfigError, match=r"`search_space.config.r` of method lora .* 64 does not: too wide"):
        check_extremes(spec, refuse)


def test_the_tables_own_spaces_are_left_to_the_trials(tiny_study: Callable[..., StudyConfig]) -> None:
    (spec,) = tiny_study(methods=["lora"]).runs()
    check_extremes(spec, lambda other: pytest.fail("tried"))


def test_a_study_is_checked_with_the_sizes_that_it_asks_for(tiny_study: Callable[..., StudyConfig]) -> None:
    # The models have 64 positions.
    space = {"config.num_virtual_tokens": [5, 60]}
    study = tiny_study(methods=[{"method": "prefix", "search_space": space}])
    with pytest.raises(ConfigError, match=r"`search_space.config.num_virtual_tokens` of method prefix .* 60"):
        check(study, lambda line: None)
    narrow = {"config.num_virtual_tokens": [5, 10]}
    check(tiny_study(methods=[{"method": "prefix", "search_space": narrow}]), lambda line: None)


def test_a_checked_study_holds_its_matched_variants(tiny_study: Callable[..., StudyConfig]) -> None:
    said: list[str] = []
    study = check(tiny_study(methods=["base", "lora", "qaa"], matched_parameters=1000), said.append)
    assert [method.name for method in study.methods] == ["base", "lora", "qaa", "lora-matched", "qaa-matched"]
    assert sum("-matched: " in line for line in said) == 2
    again = StudyConfig.parse(study.model_dump(mode="json"))
    assert check(again, said.append) == again == study
