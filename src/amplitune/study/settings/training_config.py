"""How the methods of a study are trained."""

from pydantic import Field, field_validator

from amplitune.errors import ConfigError
from amplitune.study.settings.strict import StrictModel


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
    save_steps: int | None = Field(
        None,
        ge=1,
        description="steps between two checkpoints of a run in flight; unset, one about every two minutes",
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
