"""One method of a study with its settings."""

from typing import Any

from pydantic import Field, model_validator

from amplitune.study.methods.adapter_settings import setting_problems
from amplitune.study.methods.registry import adapter_config, find_method, refuse_settings
from amplitune.study.settings.problems import InvalidKeysError
from amplitune.study.settings.strict import StrictModel
from amplitune.study.settings.training_config import TrainingConfig
from amplitune.study.tuning.search_spaces import search_spaces


class MethodConfig(StrictModel):
    """One method of a study with its own settings."""

    method: str = Field(description="lora, prefix, sora, qaa, full, base or any other peft method")
    name: str = Field(default="", description="what tables and folders call it; the method's name if unset")
    config: dict[str, Any] = Field(default_factory=dict, description="settings of the adapter's peft config")
    training: dict[str, Any] = Field(
        default_factory=dict, description="training settings for this method alone"
    )

    search_space: dict[str, Any] | None = Field(
        default=None,
        description="what tuning varies: a setting (learning_rate, training.weight_decay, config.r) to a "
        "list of values or to {low, high, log}; unset, the method's own in study/tuning/search_spaces.py",
    )
    control_of: str | None = Field(
        default=None, description="the method that this one is a control of; set by `controls`"
    )
    matched_to: int | None = Field(
        default=None,
        ge=1,
        description="the number of trainable parameters that this one's size is nearest to; set by "
        "`matched_parameters`",
    )

    @model_validator(mode="after")
    def _check(self) -> "MethodConfig":
        method = find_method(self.method)
        problems = []
        if method.trains != "adapter":
            refuse_settings(method, self.config)
        elif not (problems := setting_problems(method, self.config)):
            adapter_config(method, "generation", self.config)
        try:
            TrainingConfig.parse(self.training)
        except InvalidKeysError as error:
            problems += [problem.below(("training",)) for problem in error.problems]
        if problems:
            raise InvalidKeysError(problems)
        search_spaces(method, self.config, self.search_space, self.matched_to is not None)
        if not self.name:
            object.__setattr__(self, "name", self.method)
        return self
