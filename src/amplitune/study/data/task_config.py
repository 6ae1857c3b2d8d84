"""The configuration of a task: its data, how a row becomes a prompt, and how answers are scored."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from amplitune.errors import ConfigError, near_matches
from amplitune.study.data.examples import TaskKind
from amplitune.study.data.formats import FORMATS, check_template
from amplitune.study.metrics import METRICS, default_metrics
from amplitune.study.settings.strict import StrictModel

FormatName = Literal["auto", "chat", "alpaca", "prompt-completion", "text-label"]


class TaskConfig(StrictModel):
    """What to fine-tune for: the data, how a row becomes a prompt, and how answers are scored."""

    name: str = Field(description="what tables and folders call the task")
    kind: TaskKind | None = Field(
        default=None, description="generation or classification; unset, as the format says"
    )
    model_name_or_path: str | None = Field(
        default=None, description="the task's own model; unset, the study's"
    )

    dataset_name: str | None = Field(default=None, description='hub id, or "zoo:" and a bundled task')
    dataset_config_name: str | None = Field(
        default=None, description="configuration of the hub dataset, such as cola of glue"
    )
    train_split: str = Field(default="train", description="split of the hub dataset to train on")
    validation_split: str | None = Field(
        default=None,
        description="validated on; unset, the split 'validation' or else a tenth of the training prompts",
    )
    test_split: str = Field(
        default="test", description="split that is held out; it must have answers or labels"
    )
    train_file: str | None = Field(
        default=None, description="json, jsonl, csv, tsv or parquet file to train on"
    )
    validation_file: str | None = Field(
        default=None,
        description="file that is validated on; unset, a tenth of the training prompts by data_seed",
    )
    test_file: str | None = Field(default=None, description="file that is held out")

    format: FormatName = Field(
        default="auto", description="chat, alpaca, prompt-completion or text-label; auto goes by the columns"
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="role to column where names differ; roles: messages; instruction, input, output; "
        "prompt, completion; references (a list of answers); text, label",
    )
    labels: list[str] | None = Field(
        default=None,
        description="class names in order, integer labels counting from 0; unset, the training labels sorted",
    )
    prompt_template: str | None = Field(
        default=None,
        description="roles in braces; a line with only an empty {input} is left out; unset, the format's own",
    )
    separator: str = Field(default="\n", description="text between prompt and answer")
    chat_template: str | None = Field(
        default=None,
        description="Jinja text, or a file of it, that writes chat messages; unset, the model's own",
    )
    substitutions: dict[str, str] = Field(
        default_factory=dict,
        description="replacements in the finished prompt, in order, for what a tokenizer lacks",
    )
    max_train_examples: int | None = Field(
        default=None, ge=1, description="training examples, drawn by data_seed"
    )
    max_validation_examples: int | None = Field(
        default=None, ge=1, description="validation examples, drawn by data_seed"
    )
    max_test_examples: int | None = Field(default=None, ge=1, description="test examples, drawn by data_seed")
    data_seed: int = Field(default=0, description="seed of every draw of examples, the same for all runs")

    max_length: int = Field(
        default=512, ge=2, description="tokens of prompt and answer; what is longer loses the answer's end"
    )
    max_new_tokens: int = Field(
        default=128, ge=1, description="tokens that are generated at most for a test prompt"
    )
    metrics: list[str] | None = Field(
        default=None, description="test metrics; unset, all of the task's kind that need no extra"
    )
    primary_metric: str | None = Field(
        default=None,
        description="metric that ranks methods; unset, rougeL for generation, accuracy for classification",
    )

    @field_validator("format", mode="before")
    @classmethod
    def _known_format(cls, value: Any) -> Any:
        return _one_of("format", value, get_args(FormatName))

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, value: Any) -> Any:
        return value if value is None else _one_of("kind", value, get_args(TaskKind))

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_as_text(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        names = [str(name) for name in value]
        if len(set(names)) < max(2, len(names)):
            raise ConfigError(
                f"`labels` must be at least two distinct names, but is {value!r}.\nName each class once."
            )
        return names

    @model_validator(mode="after")
    def _check(self) -> "TaskConfig":
        self._check_source()
        form = None if self.format == "auto" else self.format
        if form is not None and self.kind not in (None, FORMATS[form].kind):
            raise ConfigError(
                f"`kind` of task {self.name!r} must be {FORMATS[form].kind!r} for format {form!r}, but is "
                f"{self.kind!r}.\n"
                "Leave it unset, or set another format."
            )
        roles = {role for name, entry in FORMATS.items() if form in (None, name) for role in entry.roles}
        for role in self.columns:
            if role not in roles:
                raise ConfigError(
                    f"`columns` of task {self.name!r} must map roles to columns, but {role!r} is no "
                    f"role{f' of format {form!r}' if form else ''}.\n"
                    f"{near_matches(role, roles)}"
                )
        if self.prompt_template is not None:
            check_template(self.prompt_template, form, self.name)
        if "" in self.substitutions:
            raise ConfigError(
                f"`substitutions` of task {self.name!r} must replace some text, but one replaces ''.\n"
                "Remove it."
            )
        for name in [*(self.metrics or []), *([self.primary_metric] if self.primary_metric else [])]:
            if name not in METRICS:
                raise ConfigError(
                    f"`metrics` of task {self.name!r} must be names of metrics, but {name!r} is none.\n"
                    f"{near_matches(name, METRICS)}"
                )
        kind = self.kind or (FORMATS[form].kind if form else None)
        if kind is not None:
            self.metric_names(kind)
        return self

    def _check_source(self) -> None:
        files = [key for key in ("train_file", "validation_file", "test_file") if getattr(self, key)]
        if (self.dataset_name is None) == (not files):
            given = f"both dataset_name and {files[0]} are" if files else "neither is"
            raise ConfigError(
                f"Task {self.name!r} must read its data either from files or from `dataset_name`, but "
                f"{given} set.\n"
                "Set train_file and test_file, or dataset_name."
            )
        for key, use in (("train_file", "train on"), ("test_file", "score the methods on")):
            if files and key not in files:
                raise ConfigError(
                    f"`{key}` of task {self.name!r} must name the data to {use}, but is not set.\n"
                    f"Set {key}; test data is never taken from the training data."
                )

    def metric_names(self, kind: TaskKind) -> list[str]:
        """The metrics that are computed on the test split, the primary one included.

        Args:
            kind: the task's kind, as `load_task` found it.

        Raises:
            ConfigError: a metric belongs to the other kind.

        Example:
            >>> TaskConfig(name="t", dataset_name="zoo:x").metric_names("classification")
            ['accuracy', 'f1', 'mcc']
        """
        names = [*(self.metrics or default_metrics(kind)), self.primary_metric_name(kind)]
        for name in names:
            if METRICS[name].kind != kind:
                raise ConfigError(
                    f"`metrics` of task {self.name!r} must be metrics of {kind}, but {name!r} is one of "
                    f"{METRICS[name].kind}.\n"
                    f"{near_matches('', [n for n, m in METRICS.items() if m.kind == kind])}"
                )
        return list(dict.fromkeys(names))

    def resolved(self, kind: TaskKind) -> "TaskConfig":
        """Write out what depends on the data: the kind, the metrics and the one that ranks.

        Args:
            kind: the task's kind, as `load_task` found it.
        """
        metrics = self.metric_names(kind)
        return self.model_copy(
            update={"kind": kind, "metrics": metrics, "primary_metric": self.primary_metric_name(kind)}
        )

    def primary_metric_name(self, kind: TaskKind) -> str:
        """The metric that ranks the methods.

        Args:
            kind: the task's kind, as `load_task` found it.
        """
        if self.primary_metric:
            return self.primary_metric
        default = "rougeL" if kind == "generation" else "accuracy"
        return default if not self.metrics or default in self.metrics else self.metrics[0]


def _one_of(argument: str, value: Any, valid: Sequence[str]) -> Any:
    if value not in valid:
        raise ConfigError(
            f"`{argument}` must be one of {', '.join(map(repr, valid))}, but is {value!r}.\n"
            f"{near_matches(str(value), valid)}"
        )
    return value
