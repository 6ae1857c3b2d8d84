"""The configuration of a study and the single runs it resolves to."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from amplitune.errors import ConfigError
from amplitune.study.methods import adapter_config, find_method, refuse_settings
from amplitune.study.strict import StrictModel
from amplitune.study.tasks import TaskConfig

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Names of tasks and methods become folders, so they are held to this."""


class TrainingConfig(StrictModel):
    """How every method of a study is trained; transformers' words."""

    max_steps: int = Field(200, ge=1, description="optimizer steps of each run")
    learning_rate: float | None = Field(
        None, gt=0, description="peak learning rate; unset, each method's own default is taken"
    )
    per_device_train_batch_size: int = Field(8, ge=1, description="examples per forward pass in training")
    per_device_eval_batch_size: int = Field(16, ge=1, description="examples per forward pass in evaluation")
    gradient_accumulation_steps: int = Field(1, ge=1, description="forward passes per optimizer step")
    lr_scheduler_type: str = Field("linear", description="transformers' name of the schedule")
    warmup_steps: int = Field(10, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradient norm at which gradients are clipped")
    logging_steps: int = Field(5, ge=1, description="steps between two points of the training curve")
    eval_steps: int | None = Field(
        None, ge=1, description="steps between two validation losses; unset, about ten in a run"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations in the backward pass; off for methods that cannot"
    )
    bf16: bool = Field(False, description="train under bfloat16 autocast")

    @field_validator("lr_scheduler_type")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        from transformers.trainer_utils import SchedulerType

        valid = [member.value for member in SchedulerType]
        if value not in valid:
            raise ConfigError(f"must be one of {', '.join(valid)}, but is {value!r}. Correct it.")
        return value


class MethodConfig(StrictModel):
    """One method of a study with its own settings."""

    method: str = Field(description="lora, prefix, sora, qaa, full, base or any other peft method")
    name: str = Field(default="", description="what tables and folders call it; the method's name if unset")
    config: dict[str, Any] = Field(default_factory=dict, description="settings of the adapter's peft config")
    training: dict[str, Any] = Field(
        default_factory=dict, description="training settings for this method alone"
    )

    @model_validator(mode="after")
    def _check(self) -> "MethodConfig":
        method = find_method(self.method)
        if method.trains == "adapter":
            adapter_config(method, "generation", self.config)
        else:
            refuse_settings(method, self.config)
        TrainingConfig.parse(self.training, f"training of method {self.name or self.method}")
        if not self.name:
            object.__setattr__(self, "name", self.method)
        return self


def _as_method(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


class RunSpec(StrictModel):
    """Everything that decides the result of one run: a method on a task from a seed."""

    model_name_or_path: str
    revision: str | None
    trust_remote_code: bool
    dtype: str
    task: TaskConfig
    method: MethodConfig
    seed: int
    training: TrainingConfig
    bertscore_model: str | None
    bertscore_num_layers: int | None
    save_adapters: bool
    threads: int | None

    @property
    def folder(self) -> Path:
        """The run's folder below the study's."""
        return Path("runs") / self.task.name / self.method.name / f"seed-{self.seed}"

    @property
    def label(self) -> str:
        """How progress and messages call the run."""
        return f"{self.task.name} / {self.method.name} / seed {self.seed}"


class StudyConfig(StrictModel):
    """A comparison: every method on every task from every seed, on one model."""

    name: str = Field("study", description="title of the report")
    description: str = Field("", description="a sentence or two for the report's opening")
    model_name_or_path: str = Field(description='hub id, local folder or "zoo:llama", the bundled model')
    revision: str | None = Field(None, description="hub revision of the model")
    trust_remote_code: bool = Field(
        False, description="run model code from the hub; off unless you turn it on"
    )
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32", description="dtype of the base weights"
    )
    tasks: list[TaskConfig] = Field(min_length=1, description="what to fine-tune for")
    methods: list[Annotated[MethodConfig, BeforeValidator(_as_method)]] = Field(
        default_factory=lambda: [
            MethodConfig(method=m) for m in ("base", "full", "lora", "prefix", "sora", "qaa")
        ],
        min_length=1,
        description="names, or mappings with method, name, config, training",
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        default_factory=lambda: [0], min_length=1, description="one run per seed"
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="settings shared by all methods")
    bertscore_model: str | None = Field(None, description="encoder for BERTScore: hub id or folder")
    bertscore_num_layers: int | None = Field(
        None, description="layer of that encoder whose output is compared"
    )
    save_adapters: bool = Field(True, description="keep each run's trained adapter")
    workers: int = Field(1, ge=1, description="runs at a time; more than one disturbs their timings")
    threads: int | None = Field(None, ge=1, description="CPU threads per run; unset, torch's own choice")

    @model_validator(mode="after")
    def _check(self) -> "StudyConfig":
        for what, names in (
            ("tasks", [task.name for task in self.tasks]),
            ("methods", [method.name for method in self.methods]),
        ):
            for name in names:
                if not SAFE_NAME.fullmatch(name):
                    raise ConfigError(
                        f"`{what}`: the name {name!r} becomes a folder and must be letters, digits, '.', "
                        "'_', '+' or '-', beginning with a letter or digit. Rename it."
                    )
                if names.count(name) > 1:
                    raise ConfigError(
                        f"`{what}` must have distinct names, but {name!r} stands {names.count(name)} times. "
                        "Give each its own `name`."
                    )
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"`seeds` must be distinct, but are {self.seeds}. Remove the repeated ones.")
        return self

    def runs(self) -> list[RunSpec]:
        """The grid; seeds before methods, so that a study cut short compares like with like."""
        return [
            RunSpec(
                model_name_or_path=task.model_name_or_path or self.model_name_or_path,
                task=task,
                method=method,
                seed=seed,
                training=self._training_of(method),
                **{key: getattr(self, key) for key in _STUDY_KEYS_OF_A_RUN},
            )
            for task in self.tasks
            for seed in self.seeds
            for method in self.methods
        ]

    def _training_of(self, method: MethodConfig) -> TrainingConfig:
        """The study's settings, the method's own over them, and a learning rate in any case."""
        settings = {**self.training.model_dump(), **method.training}
        if settings["learning_rate"] is None:
            settings["learning_rate"] = find_method(method.method).learning_rate
        return TrainingConfig.parse(settings, f"training of method {method.name}")


_STUDY_KEYS_OF_A_RUN = (
    "revision",
    "trust_remote_code",
    "dtype",
    "bertscore_model",
    "bertscore_num_layers",
    "save_adapters",
    "threads",
)
