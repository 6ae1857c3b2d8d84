"""An adapter loaded into one that the model has: never with the other's scale, entangler or the like."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file
from tests.adapters.conftest import METHODS, Architecture, MakeConfig, Wrap
from tests.adapters.test_lifecycle import logits
from torch import Tensor

from amplitune import ControlConfig, QAAConfig, SoRAConfig
from amplitune.adapters.files.reloading import _OF_ALL
from amplitune.errors import ConfigError

OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("sora", {"lora_alpha": 64}),
    ("sora", {"alpha_pattern": {"v_proj": 3}}),
    ("qaa", {"scaling": 0.5}),
    ("qaa", {"entangler": "linear"}),
    ("qaa", {"entangler": [[0, 1], [1, 2]]}),
    ("qaa", {"entangling_gate": "CZ"}),
    ("qaa", {"norm": "restore"}),
    ("qaa", {"readout": ["X0", "X1", "X2", "X3", "X4"]}),
    ("qaa", {"readout_pattern": {"v_proj": ["X0", "X1", "X2", "X3", "X4"]}}),
    ("control", {"scaling": 0.5}),
    ("control", {"norm": "restore"}),
    ("control", {"projection_seed": 7}),
]


def _state(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("name", "fields"), OTHERS)
def test_other_settings_are_refused_before_a_tensor_is_copied(
    llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path, name: str, fields: dict[str, Any]
) -> None:
    saved: Any = wrap(name, llama, seed=1, **fields)
    saved.save_pretrained(str(tmp_path))
    model: Any = wrap(name, llama)
    before = _state(model)
    (field,) = fields
    with pytest.raises(
        ConfigError, match=rf"'default' .*differs in `{field}` \(.*in the model.*delete_adapter\('default'\)"
    ):
        model.load_adapter(str(tmp_path), "default")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    # Both remedies that the error names.
    model.load_adapter(str(tmp_path), "second")
    model.set_adapter("second")
    assert torch.equal(logits(model, tokens), logits(saved, tokens))
    model.delete_adapter("default")
    model.load_adapter(str(tmp_path), "default")
    model.set_adapter("default")
    assert torch.equal(logits(model, tokens), logits(saved, tokens))


def test_the_same_settings_load(
    method: str, llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    saved: Any = wrap(method, llama, seed=1)
    saved.save_pretrained(str(tmp_path))
    model: Any = wrap(method, llama)
    model.load_adapter(str(tmp_path), "default", is_trainable=True)
    assert torch.equal(logits(model, tokens), logits(saved, tokens))


def test_fields_of_training_may_differ(
    llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    saved: Any = wrap("sora", llama, seed=1, lora_dropout=0.5, sparse_lambda=0.1)
    saved.save_pretrained(str(tmp_path))
    model: Any = wrap("sora", llama)
    model.load_adapter(str(tmp_path), "default")
    assert torch.equal(logits(model, tokens), logits(saved, tokens))


@pytest.mark.parametrize(
    ("name", "fields", "same"),
    [
        ("qaa", {"entangler": ((0, 1), (1, 2))}, {"entangler": [[0, 1], [1, 2]]}),
        ("qaa", {"scaling": 1}, {}),
        ("sora", {"alpha_pattern": {"v_proj": 16.0}}, {"alpha_pattern": {"v_proj": 16}}),
        (
            "sora",
            {"r": 4, "rank_pattern": {"q_proj": 8, "v_proj": 8}},
            {"rank_pattern": {".*proj": 8}, "r": 4},
        ),
    ],
)
def test_the_same_settings_in_other_words_load(
    llama: Architecture,
    wrap: Wrap,
    tokens: Tensor,
    tmp_path: Path,
    name: str,
    fields: dict[str, Any],
    same: dict[str, Any],
) -> None:
    saved: Any = wrap(name, llama, seed=1, **fields)
    saved.save_pretrained(str(tmp_path))
    model: Any = wrap(name, llama, **same)
    model.load_adapter(str(tmp_path), "default")
    assert torch.equal(logits(model, tokens), logits(saved, tokens))


def test_a_subfolder_is_looked_into(llama: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    wrap("sora", llama, lora_alpha=64).save_pretrained(str(tmp_path / "inside"))
    model: Any = wrap("sora", llama)
    with pytest.raises(ConfigError, match="differs in `lora_alpha`"):
        model.load_adapter(str(tmp_path), "default", subfolder="inside")


def test_a_config_given_in_place_of_the_folders_is_taken(
    llama: Architecture, wrap: Wrap, tokens: Tensor, tmp_path: Path
) -> None:
    saved: Any = wrap("sora", llama)
    saved.save_pretrained(str(tmp_path))
    config: Any = PeftConfig.from_pretrained(str(tmp_path))
    config.lora_alpha = 0.001
    loaded = PeftModel.from_pretrained(llama.model(), str(tmp_path), config=config)
    assert not torch.allclose(logits(loaded, tokens), logits(saved, tokens))


def test_tensors_without_a_config_or_a_folder_are_taken(
    llama: Architecture, wrap: Wrap, make_config: MakeConfig, tokens: Tensor, tmp_path: Path
) -> None:
    saved: Any = wrap("sora", llama, seed=1)
    saved.save_pretrained(str(tmp_path))
    (tmp_path / "adapter_config.json").unlink()
    for load in (
        lambda model: model.load_adapter(str(tmp_path), "default"),
        lambda model: peft.set_peft_model_state_dict(
            model, load_file(tmp_path / "adapter_model.safetensors")
        ),
    ):
        model: Any = wrap("sora", llama)
        load(model)
        assert torch.equal(logits(model, tokens), logits(saved, tokens))


def test_each_field_is_compared_or_has_no_effect() -> None:
    """A new field is compared: this fails where a name of one without effect is misspelt or gone."""
    for config in (QAAConfig, SoRAConfig, ControlConfig):
        names = {entry.name for entry in dataclasses.fields(config)}
        assert names > _OF_ALL | config.without_effect
        compared = names - _OF_ALL - config.without_effect
        own = {name for of, fields in OTHERS if isinstance(METHODS[of](), config) for name in fields}
        assert own
        assert own <= compared


def test_the_files_of_another_version_are_refused(llama: Architecture, wrap: Wrap, tmp_path: Path) -> None:
    model: Any = wrap("sora", llama)
    model.save_pretrained(str(tmp_path))
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(ConfigError, match="`format_version` must be at most 1"):
        model.load_adapter(str(tmp_path), "default")
