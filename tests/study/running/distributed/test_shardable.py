"""Which runs in shards are refused before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest
from tests.study.tiny_models import run_spec, study_values

from amplitune.errors import ConfigError
from amplitune.study.planning.preflight import check
from amplitune.study.running.distributed.shardable import check_shardable
from amplitune.study.settings.config import StudyConfig

SHARDS: dict[str, Any] = {"processes_per_run": 2, "distributed": "fsdp"}
SAVED = {"method": "lora", "config": {"modules_to_save": ["lm_head"]}}


def test_methods_that_were_compared_pass(tmp_path: Path) -> None:
    for method in ("base", "full", "lora", "qaa", "qaa-givens", "sora"):
        check_shardable(run_spec(tmp_path, method, **SHARDS))


def test_other_methods_are_for_replicas(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`distributed` must be ddp for method vblora"):
        check_shardable(run_spec(tmp_path, "vblora", **SHARDS))
    check_shardable(run_spec(tmp_path, "vblora", processes_per_run=2))
    check_shardable(run_spec(tmp_path, "vblora", distributed="fsdp"))


def test_whole_modules_are_saved_of_classifiers_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`config\.modules_to_save` of method lora must be unset"):
        check_shardable(run_spec(tmp_path, SAVED, **SHARDS))
    classifier = {"method": "lora", "config": {"modules_to_save": ["classifier"]}}
    check_shardable(run_spec(tmp_path, classifier, "bert", **SHARDS))


def test_a_study_is_refused_before_weights_are_loaded(tiny: Path) -> None:
    study = StudyConfig.parse(study_values(tiny, methods=["lora", "vblora"], **SHARDS))
    with pytest.raises(ConfigError, match="`distributed` must be ddp for method vblora"):
        check(study, lambda line: None)
