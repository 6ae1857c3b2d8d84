"""The configuration of a study and the single runs it resolves to."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from amplitune.errors import ConfigError, near_matches
from amplitune.study.data.tasks import TaskConfig
from amplitune.study.methods.controls import check_controls, with_controls
from amplitune.study.methods.registry import find_method
from amplitune.study.settings.method_config import MethodConfig
from amplitune.study.settings.strict import StrictModel
from amplitune.study.settings.training_config import TrainingConfig
from amplitune.study.tuning.tuning_config import TuningConfig, require_optuna

__all__ = ["MethodConfig", "RunSpec", "StudyConfig", "TaskConfig", "TrainingConfig", "TuningConfig"]

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Names of tasks and methods become folders, so they are held to this."""


def _as_method(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


class RunSpec(StrictModel):
    """Everything that decides the result of one run: a method on a task from a seed.

    A trial of tuning is a run too; it has a number, and reads the validation split where a run reads the test
    split. A run of a study that tunes knows it; `tuning.chosen.tuned` gives it the chosen settings.
    """

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
    held_out_text: str | None
    save_adapters: bool
    threads: int | None
    processes_per_run: int
    distributed: Literal["ddp", "fsdp"]
    tuning: TuningConfig | None = None
    trial: int | None = None

    @property
    def folder(self) -> Path:
        """The run's folder below the study's."""
        if self.trial is not None:
            return Path("tuning") / self.task.name / self.method.name / f"trial-{self.trial:03d}"
        return Path("runs") / self.task.name / self.method.name / f"seed-{self.seed}"

    @property
    def label(self) -> str:
        """How progress and messages call the run."""
        which = f"seed {self.seed}" if self.trial is None else f"trial {self.trial}"
        return f"{self.task.name} / {self.method.name} / {which}"


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
            MethodConfig(method=m) for m in ("base", "bias", "full", "lora", "prefix", "sora", "qaa")
        ],
        min_length=1,
        description="names, or mappings with method, name, config, training",
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        default_factory=lambda: [0], min_length=1, description="one run per seed"
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="settings shared by all methods")
    baseline: str = Field(
        "",
        description="name of the method that the others are compared with; unset, lora, or the first trained",
    )
    controls: bool = Field(
        False, description="add the controls of every QAA method: what of it is due to the circuit"
    )
    matched_parameters: int | str | None = Field(
        None,
        description="add a variant of every method with its size nearest to this number of trainable "
        "parameters, or to those of the method of this name",
    )
    tuning: TuningConfig | None = Field(
        None,
        description="tune each method on validation, with equal budgets, before its runs; unset, no tuning",
    )
    target_loss: float | None = Field(
        None,
        gt=0,
        description="validation loss whose reaching is timed; unset, for each task where the baseline ended",
    )
    held_out_text: str | None = Field(
        None,
        description="text that no task is about, whose perplexity before and after training measures "
        'forgetting: "zoo:text", a .txt file, or a .jsonl file with `text`; unset, not measured',
    )
    bertscore_model: str | None = Field(None, description="encoder for BERTScore: hub id or folder")
    bertscore_num_layers: int | None = Field(
        None, description="layer of that encoder whose output is compared"
    )
    save_adapters: bool = Field(True, description="keep each run's trained adapter")
    executor: Literal["local", "ray"] = Field(
        "local", description="local: processes of this machine; ray: tasks of a Ray cluster"
    )
    ray_address: str | None = Field(
        None, description="address of the Ray cluster; unset, a running one or else one on this machine"
    )
    workers: int = Field(
        1,
        ge=1,
        description="runs at a time, fewer where memory is short; more than one disturbs their timings",
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads per run, shared by its processes; unset, torch's own choice"
    )
    gpus_per_run: float = Field(
        1, ge=0, description="GPUs per run, at least one per process; ray takes fractions; 0: CPU"
    )
    processes_per_run: int = Field(
        1, ge=1, description="processes that train one run together; batch sizes are per process"
    )
    distributed: Literal["ddp", "fsdp"] = Field(
        "ddp", description="how they share the work: replicas of the model, or shards of it"
    )

    @model_validator(mode="after")
    def _check(self) -> "StudyConfig":
        if self.controls:
            object.__setattr__(self, "methods", with_controls(self.methods))
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
        check_controls(self.methods)
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"`seeds` must be distinct, but are {self.seeds}. Remove the repeated ones.")
        if self.tuning is not None and self.tuning.seed in self.seeds:
            raise ConfigError(
                f"`tuning.seed` must not be one of `seeds`, but {self.tuning.seed} is: a seed that chose the "
                "settings would not be a fresh one. Set another."
            )
        self._check_tuning()
        self._set_baseline()
        return self

    def _check_tuning(self) -> None:
        if self.tuning is not None:
            require_optuna()
            return
        for method in self.methods:
            if method.search_space is not None:
                raise ConfigError(
                    f"`search_space` of method {method.name} must be unset in a study that does not tune, "
                    "which would ignore it. Remove it, or set tuning: {trials: 8}."
                )

    def _set_baseline(self) -> None:
        names = [method.name for method in self.methods]
        if self.baseline and self.baseline not in names:
            raise ConfigError(
                f"`baseline` must be the name of a method of the study, but is {self.baseline!r}. "
                + near_matches(self.baseline, names)
            )
        if not self.baseline:
            trained = [m.name for m in self.methods if find_method(m.method).trains != "nothing"]
            object.__setattr__(self, "baseline", "lora" if "lora" in names else (trained or names)[0])

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
    "held_out_text",
    "save_adapters",
    "threads",
    "processes_per_run",
    "distributed",
    "tuning",
)
