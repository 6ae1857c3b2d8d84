"""The harness that runs peft's suites on our configs: its rows, its refusals, its counts."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conformance.__main__ import FOLDER
from conformance.cases import CONFIGS, CUSTOM_MODELS, OWN_CASES, config_of, our_rows
from conformance.models import MODELS, save_models
from conformance.sdist import SUITES, fetch, lay_out
from conformance.skips import SKIPS, skips_of
from peft import IA3Config, LoraConfig
from transformers import AutoConfig

from amplitune import ControlConfig, QAAConfig, SoRAConfig

ROOT = Path(__file__).resolve().parents[1]


def values(rows: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row.values) for row in rows]


def test_loras_rows_become_ours_and_other_methods_go() -> None:
    rows = [
        (LoraConfig, {"r": 8, "lora_alpha": 32, "target_modules": None, "bias": "none"}),
        (LoraConfig, {"r": 4, "target_modules": None, "bias": "none"}),
        (LoraConfig, {"target_modules": None, "use_dora": True}),
        (IA3Config, {"target_modules": None}),
    ]
    plain = {"target_modules": None, "bias": "none"}
    assert values(our_rows("config_cls,config_kwargs", rows)) == [
        (QAAConfig, plain),
        (SoRAConfig, plain | {"r": 8, "lora_alpha": 32}),
        (SoRAConfig, plain | {"r": 4}),
        (ControlConfig, plain),
    ]
    assert our_rows("config_cls", [IA3Config]) == []
    assert values(our_rows(["config_cls"], [IA3Config, LoraConfig])) == [(cls,) for cls in CONFIGS]


def test_configs_names_and_cases_of_our_own() -> None:
    config = LoraConfig(target_modules=["lin0"], r=4, init_lora_weights=False)
    rows = values(our_rows("test_name, config0", [("LoRA mixed", config)]))
    assert [name for name, _ in rows] == ["QAA mixed", "SoRA mixed", "Control mixed"]
    assert [type(made) for _, made in rows] == list(CONFIGS)
    assert all(made.target_modules == {"lin0"} and made.init_weights is False for _, made in rows)
    assert rows[1][1].r == 4
    case = ("Vanilla MLP 1 LoRA", "MLP", LoraConfig, {"target_modules": "lin0"})
    found = values(our_rows(", ".join(CUSTOM_MODELS), [case]))
    assert found[0] == ("Vanilla MLP 1 QAA", "MLP", QAAConfig, {"target_modules": "lin0"})
    assert found[3:] == list(OWN_CASES)
    assert {cls for _, _, cls, _ in OWN_CASES} == set(CONFIGS)


def test_what_has_no_config_stays_as_it_is() -> None:
    assert our_rows("model_id", ["a", "b"]) == ["a", "b"]
    assert our_rows("safe_merge,dtype", [(True, 1), (False, 2)]) == [(True, 1), (False, 2)]
    assert config_of([1, "a", LoraConfig]) is None
    assert config_of(["a", SoRAConfig]) == "SoRAConfig"
    assert config_of([QAAConfig()]) == "QAAConfig"


def test_refusals_name_our_configs_and_give_reasons() -> None:
    names = {config_cls.__name__ for config_cls in CONFIGS}
    assert all(set(skip.configs) <= names and len(skip.reason.split()) > 4 for skip in SKIPS)
    assert len(SKIPS) > 5
    merging = [
        skip for skip in SKIPS if "SoRAConfig" in skip.configs and any("merge" in t for t in skip.tests)
    ]
    assert [skip.cases for skip in merging] == [("MHA *",)]
    assert skips_of("QAAConfig", "test_merge_layers", "Vanilla MLP 1 QAA")
    assert not skips_of("QAAConfig", "test_save_pretrained", "Vanilla MLP 1 QAA")


def test_each_model_stands_in_its_folder_offline(tmp_path: Path) -> None:
    save_models(tmp_path)
    assert len(MODELS) > 15
    for name, model in MODELS.items():
        assert type(AutoConfig.from_pretrained(tmp_path / name)).__name__ == model.config


SUITE = """
import pytest
from peft import IA3Config, LoraConfig, get_peft_model
from torch import nn


@pytest.mark.parametrize("config_cls, config_kwargs", [(LoraConfig, {"target_modules": ["0"]})])
def test_merge_layers(config_cls, config_kwargs):
    model = get_peft_model(nn.Sequential(nn.Linear(4, 3)), config_cls(**config_kwargs))
    model.merge_adapter()


@pytest.mark.parametrize("config_cls", [IA3Config, LoraConfig])
def test_names(config_cls):
    assert config_cls.__name__ != "SoRAConfig", "fails on purpose"


@pytest.mark.parametrize("config_cls", [IA3Config])
def test_of_another_method(config_cls):
    raise AssertionError("must not run")
"""


def run(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "= conformance =" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_a_suite_is_run_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    printed = run(tmp_path, "pytest", "-p", "conformance.plugin", "-p", "no:cacheprovider", "--tb=no", "-q")
    table = {
        line.split()[1]: line.split()[2:] for line in printed.splitlines() if line.startswith("test_suite ")
    }
    assert table["QAAConfig"] == ["1", "0", "1", "0"]
    assert table["SoRAConfig"] == ["1", "1", "0", "0"]
    assert table["ControlConfig"] == ["2", "0", "0", "0"]
    assert "QAAConfig: merging: the branch is quadratic in x" in printed
    assert "1 tests that are written for another method's config are not run" in printed


def test_pefts_suite_of_configs(tmp_path: Path) -> None:
    name = f"peft-{__import__('peft').__version__}"
    if not (FOLDER / name / "tests").is_dir():
        pytest.skip(f"no source distribution of {name} in {FOLDER}: run `make peft-conformance` once")
    assert [suite.name for suite in lay_out(fetch(FOLDER), tmp_path / "run")] == list(SUITES)
    printed = run(
        ROOT, "conformance", "--folder", str(tmp_path), "--peft", str(FOLDER / name), "tests/test_config.py"
    )
    lines = [line.split() for line in printed.splitlines() if line.startswith("test_config ")]
    assert [(config, failed) for _, config, _, failed, *_ in lines[:4]] == [
        ("ControlConfig", "0"),
        ("QAAConfig", "0"),
        ("SoRAConfig", "0"),
        ("all", "0"),
    ]
    assert all(int(passed) >= 30 for _, _, passed, *_ in lines[:3])
