"""The check that tensors read into an adapter of the model mean there what they did when they were saved."""

import dataclasses
import inspect
import json
from pathlib import Path
from types import FrameType
from typing import Any

from peft import PeftConfig, PeftModel
from peft.utils import CONFIG_NAME

from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError

#: Those of all methods that say which modules train, and how.
_OF_ALL = {entry.name for entry in dataclasses.fields(TargetingConfig)} - {"format_version"}


def check_same_settings(config: Any, adapter_name: str) -> None:
    """Raise if tensors are read from a folder whose config computes something else than the adapter's own.

    `PeftModel.load_adapter` under a name that the model has reads the tensors and leaves the config in the
    folder alone: the scale, the entangler and the like would stay the old ones, in silence.

    Args:
        config: the config of the adapter in the model.
        adapter_name: the adapter.

    Raises:
        ConfigError: naming the fields, with the folder's values and those of the model.
    """
    read = _being_read()
    if read is None:
        return
    folder, options = read["model_id"], read["hf_hub_download_kwargs"]
    path = Path(folder, options.get("subfolder") or "")
    if path.is_dir() and not (path / CONFIG_NAME).is_file():
        return
    saved = PeftConfig.from_pretrained(folder, **options)
    different = [
        f"`{entry.name}` ({saved_value!r}, in the model {own_value!r})"
        for entry in dataclasses.fields(config)
        if entry.name not in _OF_ALL | config.without_effect
        and _plain(own_value := getattr(config, entry.name))
        != _plain(saved_value := getattr(saved, entry.name, None))
    ]
    if different:
        raise ConfigError(
            f"The adapter in {folder} must have the settings of adapter {adapter_name!r} of the model to be "
            f"loaded into it, as only its tensors are read then, but differs in {', '.join(different)}. Load "
            f"it under another name, or call delete_adapter({adapter_name!r}) before and set_adapter after; "
            "PeftModel.from_pretrained opens it on a base model with its own settings."
        )


def _being_read() -> dict[str, Any] | None:
    """Find the arguments of the `load_adapter` that is running: peft hands its tensors on, not their folder.

    `PeftModel.from_pretrained` runs it too, with the config of the folder or one given in place of that.
    """
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and frame.f_code is not _code_of(PeftModel.load_adapter):
        frame = frame.f_back
    if frame is None or frame.f_back is None or frame.f_back.f_code is _code_of(PeftModel.from_pretrained):
        return None
    return frame.f_locals


def _code_of(function: Any) -> Any:
    return getattr(inspect.unwrap(function), "__code__", None)


def _plain(value: Any) -> Any:
    """Give a value as a file has it, with lists for tuples; the order of a mapping's keys counts."""
    return json.loads(json.dumps(list(value.items()) if isinstance(value, dict) else value))
