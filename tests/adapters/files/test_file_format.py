"""adapter_config.json: its version, keys that are unknown, and files that are no config."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel
from tests.adapters.conftest import Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor

from amplitune.adapters.files.file_format import FORMAT_VERSION
from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError

CONFIG = "adapter_config.json"


def test_the_version_is_written_and_a_file_without_it_is_of_the_first(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    model = wrap(method, llama)
    model.save_pretrained(str(tmp_path))
    values = json.loads((tmp_path / CONFIG).read_text())
    assert values.pop("format_version") == 1
    (tmp_path / CONFIG).write_text(json.dumps(values))
    loaded: Any = PeftModel.from_pretrained(llama.model(), str(tmp_path))
    assert loaded.peft_config["default"].format_version == 1
    assert torch.equal(logits(loaded, tokens), logits(model, tokens))


@pytest.mark.parametrize("value", [0, -1, True, "1", None, 1.0])
def test_what_is_no_version_is_refused(
    method: str, llama: Architecture, make_config: MakeConfig, value: Any
) -> None:
    with pytest.raises(ConfigError, match="`format_version` must be an integer from 1 to 1"):
        make_config(method, llama, format_version=value)


def test_keys_that_peft_adds_pass_and_unknown_ones_are_pefts_warning(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path
) -> None:
    wrap(method, llama).save_pretrained(str(tmp_path))
    own = {
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "peft_type",
        "peft_version",
        "revision",
    }
    values = json.loads((tmp_path / CONFIG).read_text())
    assert own < values.keys()
    (tmp_path / CONFIG).write_text(json.dumps(values | {"zzz_of_a_later_peft": 1}))
    with pytest.warns(UserWarning, match="zzz_of_a_later_peft"):
        PeftModel.from_pretrained(llama.model(), str(tmp_path))


@pytest.mark.parametrize("loader", ["peft", "class"])
def test_configs_that_are_none(
    method: str, llama: Architecture, wrap: Wrap, tmp_path: Path, loader: str
) -> None:
    wrapped = wrap(method, llama)
    wrapped.save_pretrained(str(tmp_path))
    read: Any = PeftConfig if loader == "peft" else type(wrapped.peft_config["default"])
    values = json.loads((tmp_path / CONFIG).read_text())
    del values["peft_type"]
    (tmp_path / CONFIG).write_text(json.dumps(values))
    base = llama.model()
    with pytest.raises(KeyError, match="peft_type"):
        PeftModel.from_pretrained(base, str(tmp_path))
    (tmp_path / CONFIG).write_text(json.dumps(values)[:50])
    with pytest.raises(ValueError, match="line 1"):
        read.from_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match="line 1"):
        PeftModel.from_pretrained(base, str(tmp_path))
    assert not any(isinstance(module, AdapterLayer) for module in base.modules())


def test_a_misspelt_field_is_an_error_and_one_that_resembles_none_is_pythons(
    method: str, llama: Architecture, make_config: MakeConfig
) -> None:
    with pytest.raises(ConfigError, match=r"`init_weight` is not a field of .*Did you mean 'init_weights'"):
        make_config(method, llama, init_weight=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'zzz'"):
        make_config(method, llama, zzz=1)


@pytest.mark.parametrize("key", ["init_weight", "fused_parts"])
def test_a_later_version_is_named_before_its_new_keys(
    method: str, llama: Architecture, make_config: MakeConfig, key: str
) -> None:
    with pytest.raises(ConfigError, match=f"`format_version` must be at most {FORMAT_VERSION} "):
        make_config(method, llama, format_version=FORMAT_VERSION + 1, **{key: {}})


@pytest.mark.parametrize("key", ["fused_parts", "fused_layouts"])
def test_parts_of_a_fused_projection_are_refused_with_the_reason(
    llama: Architecture, make_config: MakeConfig, key: str
) -> None:
    with pytest.raises(ConfigError, match=rf"`{key}` must be left out of SoRAConfig.*or use QAAConfig"):
        make_config("sora", llama, **{key: {"q_proj": ["q"]}})
