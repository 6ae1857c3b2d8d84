"""The registration with peft: loud when a new Python or peft breaks it, silent when repeated."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType

from amplitune import ControlConfig, QAAConfig, SoRAConfig
from amplitune.adapters import registration
from amplitune.adapters.control.model import ControlModel
from amplitune.adapters.qaa.model import QAAModel
from amplitune.adapters.sora.model import SoRAModel
from amplitune.errors import AmplituneError

NAMES = ["QAA", "SORA", "CONTROL"]


@pytest.mark.parametrize("name", NAMES)
def test_the_member_is_like_one_of_pefts_own(name: str) -> None:
    member, native = PeftType(name), PeftType.LORA
    assert isinstance(member, PeftType)
    assert member.name == member.value == name
    assert member == name
    assert repr(member) == repr(native).replace("LORA", name)
    assert vars(member).keys() == vars(native).keys(), (
        "an enumeration's members have gained or lost attributes"
    )
    assert PeftType[name] is member
    assert getattr(PeftType, name) is member
    assert list(PeftType).count(member) == 1
    assert member in PeftType
    assert name in list(PeftType)
    assert {member: 1}[name] == 1
    assert copy.copy(member) is copy.deepcopy(member) is member
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(member, protocol)) is member
    assert json.loads(json.dumps({"peft_type": member})) == {"peft_type": name}
    registration.check_member(name)


def test_pefts_own_members_are_untouched() -> None:
    assert PeftType("LORA") is PeftType.LORA
    assert peft.LoraConfig().peft_type is PeftType.LORA
    with pytest.raises(ValueError, match="NO_SUCH_METHOD"):
        PeftType("NO_SUCH_METHOD")


def test_all_of_pefts_mappings_know_the_methods() -> None:
    assert [name.upper() for name in registration.METHODS] == NAMES
    configs, models = (QAAConfig, SoRAConfig, ControlConfig), (QAAModel, SoRAModel, ControlModel)
    for name, config, model in zip(NAMES, configs, models, strict=True):
        assert PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(name)] is config
        assert PEFT_TYPE_TO_TUNER_MAPPING[PeftType(name)] is model
        # transformers' delete_adapter builds the prefix from the type in this way.
        assert PEFT_TYPE_TO_PREFIX_MAPPING[PeftType(name)] == f"{name.lower()}_" == model.prefix


def test_a_second_registration_changes_nothing() -> None:
    before = (
        list(PeftType),
        dict(PEFT_TYPE_TO_CONFIG_MAPPING),
        dict(PEFT_TYPE_TO_TUNER_MAPPING),
        dict(PEFT_TYPE_TO_PREFIX_MAPPING),
    )
    registration.register()
    assert before == (
        list(PeftType),
        PEFT_TYPE_TO_CONFIG_MAPPING,
        PEFT_TYPE_TO_TUNER_MAPPING,
        PEFT_TYPE_TO_PREFIX_MAPPING,
    )


def test_another_method_of_the_same_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEFT_TYPE_TO_CONFIG_MAPPING, PeftType("QAA"), peft.LoraConfig)
    with pytest.raises(
        AmplituneError, match=r"already has a method 'QAA', peft\.tuners\.lora\.config\.LoraConfig"
    ):
        registration.register()


def test_a_peft_without_the_hook_for_strict_loading_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BaseTuner, "_remap_adapter_state_dict_for_load")
    with pytest.raises(AmplituneError, match=r"peft 0\.21 or newer"):
        registration.register()


@pytest.mark.parametrize(
    ("broken", "what"),
    [("_value2member_map_", "lookup by value"), ("_member_map_", "lookup by name")],
)
def test_an_enumeration_that_does_not_take_the_member_is_an_error(
    monkeypatch: pytest.MonkeyPatch, broken: str, what: str
) -> None:
    table: dict[str, Any] = getattr(PeftType, broken)
    monkeypatch.delitem(table, "QAA")
    with pytest.raises(AmplituneError, match=what):
        registration.check_member("QAA")


def test_importing_the_package_registers_and_prints_nothing(tmp_path: Path) -> None:
    code = "import amplitune, peft; print(peft.PeftType('QAA').value, peft.PeftType('SORA').value)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "QAA SORA\n"), done.stderr


def test_the_package_exports_at_most_ten_names() -> None:
    import amplitune

    exported = [name for name in amplitune.__all__ if name != "__version__"]
    assert 5 <= len(exported) <= 10
    assert all(hasattr(amplitune, name) for name in exported)
    assert amplitune.__version__.count(".") == 2
