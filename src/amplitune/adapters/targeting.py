"""The configuration fields that say which modules of a model get an adapter."""

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from peft import PeftConfig

from amplitune.adapters.files.file_format import FORMAT_VERSION, check_format_version, check_keys
from amplitune.adapters.files.loading import await_tensors
from amplitune.adapters.files.model_card import say_what_to_import
from amplitune.errors import ConfigError


@dataclass
class TargetingConfig(PeftConfig):
    """Which modules get an adapter; the fields are those of every peft method for linear layers."""

    #: A method's fields that matter to training alone, or that the names and shapes of the tensors show.
    without_effect: ClassVar[frozenset[str]] = frozenset()

    target_modules: list[str] | set[str] | str | None = field(
        default=None,
        metadata={
            "help": "Modules that get an adapter: a list of names or of their endings, a regular expression "
            "that matches the whole name, or 'all-linear'. Left unset, the modules that peft's LoRA targets "
            "in that architecture (q_proj and v_proj in most)."
        },
    )
    exclude_modules: list[str] | set[str] | str | None = field(
        default=None,
        metadata={
            "help": "Modules that get no adapter although they are targets: names, endings, or a regex."
        },
    )
    layers_to_transform: list[int] | int | None = field(
        default=None,
        metadata={"help": "Indices of the layers that get adapters; needs `target_modules` as a list."},
    )
    layers_pattern: list[str] | str | None = field(
        default=None,
        metadata={
            "help": "Name of the module list that the indices of `layers_to_transform` count, such as 'h'."
        },
    )
    modules_to_save: list[str] | None = field(
        default=None,
        metadata={"help": "Modules trained in full and saved beside the adapter, such as a classifier head."},
    )
    bias: str = field(
        default="none",
        metadata={
            "help": "Biases of the base model that are trained and saved too: 'none', 'all', or those of the "
            "target modules, 'qaa_only', 'sora_only' or 'control_only' by the method. They are the model's "
            "own: disabling or unloading the adapter keeps them as trained."
        },
    )
    init_weights: bool = field(
        default=True,
        metadata={
            "help": "True: a fresh adapter leaves the model's output unchanged. False: random weights "
            "throughout, for tests."
        },
    )
    format_version: int = field(
        default=FORMAT_VERSION,
        metadata={
            "help": "Version of what a saved adapter's numbers mean: the order of wires, the gates, the "
            "named entanglers and readouts, the names and shapes of tensors. Written by amplitune; leave it "
            "unset."
        },
    )

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Check the keys before peft would drop those that the class does not have."""
        if "format_version" in kwargs:
            check_format_version(kwargs["format_version"])
        fields = {entry.name for entry in dataclasses.fields(cls) if entry.init}
        for name, reason in _OF_LORA.items():
            if name not in fields and kwargs.get(name):
                raise ConfigError(
                    f"`{name}` is a field of peft's LoraConfig, but not of {cls.__name__}. {reason}"
                )
        check_keys(
            cls.__name__, {name: value for name, value in kwargs.items() if name not in _OF_LORA}, fields
        )
        return super().__new__(cls)

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Save the config, and say in a model card that lies beside it what to import."""
        super().save_pretrained(save_directory, **kwargs)
        say_what_to_import(Path(save_directory))

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> PeftConfig:
        """Read a config from its folder or the hub; what peft loads an adapter by, before it has tensors."""
        config: PeftConfig = super().from_pretrained(pretrained_model_name_or_path, subfolder, **kwargs)
        folder = Path(pretrained_model_name_or_path, subfolder or "")
        if folder.is_dir():
            # An argument that peft's load_adapter alone gives; to train anew, a config is enough.
            await_tensors(config, folder, needs_tensors="ephemeral_gpu_offload" in kwargs)
        return config

    def __post_init__(self) -> None:
        """Turn lists into sets, as peft does, and check that the fields agree with each other."""
        super().__post_init__()
        check_format_version(self.format_version)
        self._check_kinds()
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            _check_names(name, value, "a list of names or a regular expression")
            if isinstance(value, list | tuple):
                setattr(self, name, set(value))
        _check_names("layers_pattern", self.layers_pattern, "the name of a module list, or a list of them")
        if isinstance(self.modules_to_save, str):
            raise ConfigError(
                f"`modules_to_save` must be a list of names, but is {self.modules_to_save!r}. Give "
                f"[{self.modules_to_save!r}]."
            )
        _check_names("modules_to_save", self.modules_to_save, "a list of names")
        self.layers_to_transform = _indices(self.layers_to_transform)
        for name in ("layers_to_transform", "layers_pattern"):
            if isinstance(self.target_modules, str) and getattr(self, name) is not None:
                raise ConfigError(
                    f"`{name}` cannot be used when `target_modules` is a str, but is "
                    f"{getattr(self, name)!r} with target_modules: {self.target_modules!r}. Give "
                    "`target_modules` as a list of names, or put the layers into the regular expression."
                )
        if self.bias not in ("none", "all") and not str(self.bias).endswith("_only"):
            raise ConfigError(
                f"`bias` must be 'none', 'all' or the method's name and '_only', but is {self.bias!r}. Leave "
                "it unset to keep the base model's biases frozen."
            )
        if self.layers_pattern and self.layers_to_transform is None:
            raise ConfigError(
                "When `layers_pattern` is specified, `layers_to_transform` must also be specified, but is "
                f"None. Give the indices of the layers in {self.layers_pattern!r}, or leave "
                "`layers_pattern` unset."
            )

    def _check_kinds(self) -> None:
        """Refuse what is no truth value, or no finite number, where the field is one."""
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if entry.type in (bool, "bool") and not isinstance(value, bool):
                raise ConfigError(
                    f"`{entry.name}` must be true or false, but is {value!r}. Leave it unset for "
                    f"{str(entry.default).lower()}."
                )
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if entry.type in (float, "float") and not number:
                raise ConfigError(
                    f"`{entry.name}` must be a number, but is {value!r}. Leave it unset for {entry.default}."
                )


_ONLY_LORA = "Leave it out, or use LoraConfig."
#: Fields of peft's LoraConfig that none of our configs has, and what there is instead.
_OF_LORA = {
    "target_parameters": (
        "An adapter goes around modules, not around parameters such as the experts of a mixture: name "
        "modules in `target_modules`, or use LoraConfig."
    ),
    "trainable_token_indices": (
        "Train all rows of the embedding with `modules_to_save`, adapt it with SoRAConfig, or use LoraConfig."
    ),
    "ensure_weight_tying": (
        "An adapter belongs to one module, and a merge gives modules that share a weight a copy each. "
        f"{_ONLY_LORA}"
    ),
    "fan_in_fan_out": "GPT-2's Conv1D is recognised without it. Leave it out.",
    "init_lora_weights": "The field is `init_weights`: true or false.",
    "layer_replication": _ONLY_LORA,
    "lora_bias": f"`bias` trains biases of the base model. {_ONLY_LORA}",
    "megatron_config": _ONLY_LORA,
    "use_dora": _ONLY_LORA,
    "use_rslora": _ONLY_LORA,
}


def _check_names(argument: str, value: Any, kind: str) -> None:
    """Refuse what is neither None, a regular expression, nor a collection of names."""
    if value is None:
        return
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise ConfigError(
                f"`{argument}` must be {kind}, but {value!r} is no regular expression: {error}. Give a list "
                "of names."
            ) from error
        return
    if not isinstance(value, list | tuple | set) or not all(isinstance(name, str) for name in value):
        raise ConfigError(
            f"`{argument}` must be {kind}, but is {value!r}. Write, such as, ['q_proj', 'v_proj']."
        )


def _indices(value: Any) -> list[int] | int | None:
    """Give indices as peft takes them, and as JSON can hold them."""
    if value is None:
        return None
    single = not isinstance(value, Iterable) or isinstance(value, str)
    given = [value] if single else list(value)
    for index in given:
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise ConfigError(
                "`layers_to_transform` must be an index or a list of indices, which count from 0, but is "
                f"{value!r}. Write, such as, [0, 1] for the first two layers."
            )
    return value if single else given
