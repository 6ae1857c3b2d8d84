"""Files that transformers' own load_adapter cannot use: what it refuses, what it reports, what is left to do.

It makes the adapter from the config alone, which does not know its folder, then replaces the tensors one by
one, and asks nothing of peft afterwards: a check of the file has no place in it. The same holds for LoRA.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tests.adapters.conftest import Architecture, Wrap
from tests.adapters.files.test_loading import DAMAGES, TENSORS, Damage
from tests.adapters.test_lifecycle import logits
from torch import Tensor

from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.errors import ConfigError

BY_NAME = {damage.name: damage for damage in DAMAGES}
Damaged = Callable[[Damage], str]


@pytest.fixture
def damaged(method: str, llama: Architecture, wrap: Wrap, tmp_path: Path) -> Damaged:
    """Save an adapter of the method and damage its files."""

    def damage(kind: Damage) -> str:
        folder = tmp_path / "adapter"
        wrap(method, llama).save_pretrained(str(folder))
        kind.do(folder)
        return str(folder)

    return damage


@pytest.mark.parametrize("name", ["later version", "misspelt key", "targets of another model"])
def test_what_the_config_tells_is_refused_before_anything_changes(
    llama: Architecture, damaged: Damaged, name: str
) -> None:
    base = llama.model()
    with pytest.raises(ConfigError, match=BY_NAME[name].message):
        base.load_adapter(damaged(BY_NAME[name]))
    assert not any(isinstance(module, AdapterLayer) for module in base.modules())


@pytest.mark.parametrize("name", ["longer", "flattened", "end cut", "header cut", "empty"])
def test_after_an_error_of_the_file_the_fresh_adapter_is_deleted_by_its_name(
    llama: Architecture, damaged: Damaged, tokens: Tensor, name: str
) -> None:
    base: Any = llama.model()
    expected = logits(base, tokens)
    with pytest.raises((RuntimeError, SafetensorError)):
        base.load_adapter(damaged(BY_NAME[name]), adapter_name="new")
    assert list(base.peft_config) == ["new"]
    base.delete_adapter("new")
    assert torch.equal(logits(base, tokens), expected)


def _rename(folder: Path) -> None:
    tensors = load_file(folder / TENSORS)
    key = sorted(tensors)[-1]
    tensors["base_model.model.something"] = tensors.pop(key)
    save_file(tensors, folder / TENSORS, metadata={"format": "pt"})


def test_missing_and_unknown_tensors_are_in_what_it_returns(llama: Architecture, damaged: Damaged) -> None:
    found = llama.model().load_adapter(damaged(BY_NAME["gone"]))
    assert (len(found.missing_keys), len(found.unexpected_keys)) == (1, 0)
    found = llama.model().load_adapter(damaged(Damage("renamed", _rename, "")))
    assert (len(found.missing_keys), found.unexpected_keys) == (1, {"something"})
