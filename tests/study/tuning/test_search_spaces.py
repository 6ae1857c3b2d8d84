"""Search spaces: what the table gives each method, and what it refuses of a study's own."""

import builtins
import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import study_values

from amplitune.errors import ConfigError
from amplitune.study.methods.controls import with_controls
from amplitune.study.methods.registry import METHODS, adapter_config, find_method
from amplitune.study.settings.config import StudyConfig
from amplitune.study.settings.method_config import MethodConfig
from amplitune.study.tuning.search_spaces import LEARNING_RATE, search_spaces
from amplitune.study.tuning.space import Choices, Range, parse_space

CIRCUIT = ["config.circuits", "config.depth", "config.readout"]
SIZES = {
    "base": None,
    "bias": [],
    "full": [],
    "lora": ["config.r"],
    "prefix": ["config.num_virtual_tokens"],
    "sora": ["config.r"],
    "qaa": CIRCUIT,
    "qaa-frozen": CIRCUIT,
    "qaa-no-entangler": CIRCUIT,
    "qaa-projection": ["config.circuits", "config.width"],
    "qaa-squares": ["config.circuits", "config.width"],
    "qaa-givens": ["config.circuits", "config.depth", "config.width"],
}


def test_the_rate_comes_first_then_the_methods_own_size() -> None:
    assert SIZES.keys() == METHODS.keys()
    for name, sizes in SIZES.items():
        spaces = search_spaces(find_method(name), {})
        assert list(spaces) == ([] if sizes is None else [LEARNING_RATE, *sizes]), name
    assert list(search_spaces(find_method("ia3"), {})) == [LEARNING_RATE]


def test_every_method_has_a_grid_as_fine_as_the_others_around_its_default_rate() -> None:
    spans = {}
    for name in [*METHODS, "ia3", "vera"]:
        if name != "base":
            space = search_spaces(find_method(name), {})[LEARNING_RATE]
            assert isinstance(space, Range)
            assert space.log
            spans[name] = space.high / space.low
            assert space.low < find_method(name).learning_rate < space.high
    assert len(spans) == len(METHODS) + 1
    assert list(spans.values()) == pytest.approx([1000] * len(spans))


def test_every_size_of_the_table_can_be_set_and_is_the_default_among_others() -> None:
    seen = 0
    for name, sizes in SIZES.items():
        method = find_method(name)
        for key in sizes or []:
            space = search_spaces(method, {})[key]
            assert isinstance(space, Choices)
            default = getattr(adapter_config(method, "generation", {}), key.removeprefix("config."))
            assert default in space.values
            for value in space.values:
                adapter_config(method, "generation", {key.removeprefix("config."): value})
                seen += 1
    assert seen == 2 * 5 + 4 + 3 * 8 + 2 * 5 + 8


def test_qaa_and_its_controls_are_searched_over_the_same_sizes() -> None:
    methods = with_controls([MethodConfig(method="qaa", config={"circuits": 2})])
    assert len(methods) == 6
    qaa = search_spaces(find_method("qaa"), methods[0].config)
    for method in methods[1:]:
        spaces = search_spaces(find_method(method.method), method.config)
        assert spaces[LEARNING_RATE] == qaa[LEARNING_RATE]
        assert "config.circuits" not in spaces
        for key, space in spaces.items():
            assert space == qaa[key.replace("width", "readout")]


def test_what_a_study_sets_is_kept() -> None:
    assert list(search_spaces(find_method("qaa"), {"depth": 2})) == [
        LEARNING_RATE,
        "config.circuits",
        "config.readout",
    ]
    assert list(search_spaces(find_method("qaa"), {"preset": "paper"})) == [LEARNING_RATE]
    assert list(search_spaces(find_method("lora"), {}, matched=True)) == [LEARNING_RATE]


def test_a_study_may_give_its_own() -> None:
    own = {"config.lora_dropout": {"low": 0, "high": 0.5}, "learning_rate": {"low": 1e-5, "high": 1e-3}}
    spaces = search_spaces(find_method("lora"), {"r": 4}, {**own, "config.r": [2, 4]})
    assert spaces == {
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "config.lora_dropout": Range(0, 0.5),
        "config.r": Choices((2, 4)),
    }
    assert next(iter(spaces)) == "learning_rate"
    assert list(search_spaces(find_method("lora"), {}, {"config.r": [2, 4], **own}, matched=True)) == [
        "learning_rate"
    ]
    assert search_spaces(find_method("lora"), {}, {}) == {}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learnin_rate": [1e-3]}, r"`search_space.learnin_rate` is not .* Did you mean 'learning_rate'"),
        ({"config.rank_patern": [{}]}, r"Did you mean 'config.rank_pattern'"),
        ({"training.max_steps": [10]}, r"is not a setting that tuning may vary.*weight_decay, warmup_steps"),
        ({"training.learning_rate": [1e-3]}, "is not a setting that tuning may vary"),
        ({"config.r": 8}, "must be a list of values or a mapping with low, high and log, but is 8"),
        ({"config.r": []}, "must list at least one value"),
        ({"config.r": [8, 8]}, "must list distinct values, but has 8 twice"),
        ({"config.r": ["eight"]}, r"`search_space.config.r` must hold values that can be set.*'eight'"),
        ({"config.r": {"low": 2, "high": 2}}, "must have low below high, but has 2 and 2"),
        ({"config.r": {"low": 2}}, r"`search_space.config.r.high` must be a number, but is missing"),
        ({"config.r": {"low": "a", "high": 2}}, r"`search_space.config.r.low` must be a number, but is 'a'"),
        ({"config.r": {"low": 2, "hihg": 4}}, "has 'hihg'. Did you mean 'high'"),
        ({"config.r": {"low": 2, "high": 4, "log": 1}}, r"`search_space.config.r.log` must be true or false"),
        ({"config.r": {"low": 0, "high": 4, "log": True}}, "must have low above 0 with log: true, but has 0"),
        ({"learning_rate": {"low": 0, "high": 1}}, "must have low above 0 with log: true"),
        ({"learning_rate": {"low": 1e-4, "high": math.inf}}, "must be a number, but is inf"),
        ({"learning_rate": [-1e-4]}, "`search_space.learning_rate` must hold values that can be set"),
        ({"training.lr_scheduler_type": ["liner"]}, "must hold values that can be set.*'liner'"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MethodConfig.parse({"method": "lora", "search_space": space})


def test_methods_without_an_adapter_have_no_settings_of_one() -> None:
    with pytest.raises(ConfigError, match="must be unset for method base"):
        MethodConfig.parse({"method": "base", "search_space": {"learning_rate": [1e-3]}})
    with pytest.raises(ConfigError, match=r"`search_space.config.r` is not a setting"):
        MethodConfig.parse({"method": "full", "search_space": {"config.r": [1]}})


def test_a_search_space_in_a_study_that_does_not_tune_is_refused(tiny: Path) -> None:
    method = {"method": "lora", "search_space": {"config.r": [2, 4]}}
    with pytest.raises(ConfigError, match="`search_space` of method lora must be unset in a study that does"):
        StudyConfig.parse(study_values(tiny, methods=[method]))
    study = StudyConfig.parse(study_values(tiny, methods=[method], tuning={"trials": 2}))
    assert StudyConfig.parse(study.model_dump(mode="json")) == study


def test_without_optuna_a_study_cannot_tune(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else find(name, *rest)
    )
    assert StudyConfig.parse(study_values(tiny)).tuning is None
    with pytest.raises(ConfigError, match=r"pip install 'amplitune\[tuning\]'"):
        StudyConfig.parse(study_values(tiny, tuning={"trials": 2}))


def test_optuna_is_imported_only_to_tune(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        assert name.partition(".")[0] != "optuna"
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert StudyConfig.parse(study_values(tiny, tuning={"trials": 2})).tuning


@pytest.mark.parametrize(
    ("space", "value", "edge"),
    [
        ([1, 2, 4], 1, False),
        ([2, 4, 8], 2, True),
        ([8, 2, 4], 8, True),
        ([8, 2, 4], 4, False),
        ([8], 8, False),
        (["Z", "Z+ZZ"], "Z+ZZ", False),
        ([True, False], True, False),
        ([0.1, 1.0, 2.0], 0.1, True),
        ({"low": 1e-5, "high": 1e-1, "log": True}, 1.5e-5, True),
        ({"low": 1e-5, "high": 1e-1, "log": True}, 1.7e-5, False),
        ({"low": 1e-5, "high": 1e-1, "log": True}, 7e-2, True),
        ({"low": 1e-5, "high": 1e-1, "log": True}, 6e-2, False),
        ({"low": 0.0, "high": 1.0}, 0.04, True),
        ({"low": 0.0, "high": 1.0}, 0.06, False),
        ({"low": 1, "high": 9}, 1, False),
        ({"low": 2, "high": 9}, 2, True),
    ],
)
def test_the_edge_of_a_space(space: Any, value: Any, edge: bool) -> None:
    assert parse_space("config.x", space).at_edge(value) is edge
