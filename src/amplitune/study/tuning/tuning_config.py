"""How the methods of a study are tuned."""

import importlib.util
from typing import Literal

from pydantic import Field

from amplitune.errors import ConfigError
from amplitune.study.settings.strict import StrictModel


class TuningConfig(StrictModel):
    """Tuning on the validation split, with the same number of trials and of steps for every method."""

    trials: int = Field(8, ge=1, description="trials per method and task, one run on validation each")
    max_steps: int | None = Field(
        None, ge=1, description="optimizer steps of a trial; unset, as many as a run"
    )
    seed: int = Field(1000, ge=0, lt=2**32, description="seed of all trials, none of the study's `seeds`")
    select_by: Literal["primary_metric", "validation_loss"] = Field(
        "primary_metric",
        description="what the best trial is best in, on validation; ties go to the lower loss",
    )


def require_optuna() -> None:
    """Refuse to tune where Optuna is not installed.

    Raises:
        ConfigError: it is not; the message has the command that adds it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError(
            "`tuning` must be unset where Optuna is not installed, but is set. "
            "Install it with: pip install 'amplitune[tuning]'"
        )
