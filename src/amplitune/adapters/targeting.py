"""The configuration fields that say which modules of a model get an adapter."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from peft import PeftConfig

from amplitune.adapters.files.file_format import FORMAT_VERSION, check_format_version, check_keys
from amplitune.adapters.files.loading import await_tensors
from amplitune.adapters.files.model_card import say_what_to_import
from amplitune.errors import ConfigError


@dataclass
class TargetingConfig(PeftConfig):
    """Which modules get an adapter; the fields are those of every peft method for linear layers."""

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
        check_keys(cls.__name__, kwargs, {entry.name for entry in dataclasses.fields(cls) if entry.init})
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
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
        if isinstance(self.exclude_modules, list):
            self.exclude_modules = set(self.exclude_modules)
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
