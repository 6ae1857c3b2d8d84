"""The configuration of a SoRA adapter."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeGuard, get_args

from peft.utils import PeftType

from amplitune.adapters.files.file_format import FORMAT_VERSION, check_format_version
from amplitune.adapters.patterns import check_pattern, pattern_value
from amplitune.adapters.targeting import TargetingConfig
from amplitune.errors import ConfigError, check_choice, check_integer

Threshold = Literal["lambda", "lr*lambda"]
ThresholdRule = Literal["soft", "reference"]
LambdaSchedule = Literal["constant", "linear", "log-linear"]


#: The fields of SoRAConfig that the optimizer's proximal step goes by.
PROXIMAL_FIELDS = (
    "sparse_lambda",
    "threshold",
    "threshold_rule",
    "lambda_schedule",
    "lambda_num_steps",
    "lambda_end",
)


@dataclass
class SoRAConfig(TargetingConfig):
    """A low-rank adapter with a gate on each rank that a proximal step drives to zero.

        y = W0 x + (lora_alpha / r) B (g * (A dropout(x)))

    `sparse_lambda` and the fields after it are what `create_sora_optimizer` trains the gates with; they have
    no effect under another optimizer, where a SoRA adapter stays dense.

    Raises:
        ConfigError: a field has a value it cannot have, or fields contradict each other.

    Source:
        Ding et al., "Sparse Low-rank Adaptation of Pre-trained Language Models", EMNLP 2023, arXiv
        2311.11696, equations 5 to 8; defaults of the reference code.

    Example:
        >>> SoRAConfig(r=16, target_modules=["q_proj", "v_proj"]).peft_type.value
        'SORA'
    """

    without_effect = frozenset({"r", "rank_pattern", "lora_dropout", "pruned_gates", *PROXIMAL_FIELDS})

    r: int = field(
        default=8, metadata={"help": "Rank before sparsification: the number of gates of a module."}
    )
    lora_alpha: float = field(
        default=16, metadata={"help": "Scale of the branch, which is lora_alpha / r; pruning keeps it."}
    )
    rank_pattern: dict[str, int] = field(
        default_factory=dict,
        metadata={
            "help": "Ranks of single modules instead of `r`: name, ending or regular expression -> rank."
        },
    )
    alpha_pattern: dict[str, float] = field(
        default_factory=dict,
        metadata={"help": "`lora_alpha` of single modules: name, ending or regular expression -> value."},
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout on the input of the branch."})
    sparse_lambda: float = field(
        default=3e-4, metadata={"help": "Threshold of the proximal step on the gates, at the first step."}
    )
    threshold: Threshold = field(
        default="lambda",
        metadata={
            "help": "'lambda': the threshold is lambda, as in the reference code, whatever the learning "
            "rate. 'lr*lambda': it is the learning rate times lambda, the proximal gradient step of the "
            "paper."
        },
    )
    threshold_rule: ThresholdRule = field(
        default="soft",
        metadata={
            "help": "'soft': sign(g) max(|g| - t, 0), the paper's. 'reference': the reference code's update "
            "in place, which sets gates between t and 2 t to zero as well and leaves |g| = t as it is; to "
            "repeat runs of that code."
        },
    )
    lambda_schedule: LambdaSchedule = field(
        default="constant",
        metadata={
            "help": "How lambda goes from `sparse_lambda` to `lambda_end`: constant, linear, log-linear."
        },
    )
    lambda_num_steps: int | None = field(
        default=None, metadata={"help": "Optimizer steps until lambda is `lambda_end`; it stays there after."}
    )
    lambda_end: float | None = field(
        default=None, metadata={"help": "Lambda at the end of a linear or log-linear schedule."}
    )
    pruned_gates: int = field(
        default=0,
        metadata={"help": "Gates that `prune_gates` has removed so far; it writes this itself."},
    )

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Say why a fused projection has no parts here, before its keys are taken for misspelt ones."""
        check_format_version(kwargs.get("format_version", FORMAT_VERSION))
        for name in ("fused_parts", "fused_layouts"):
            if name in kwargs:
                raise ConfigError(
                    f"`{name}` must be left out of SoRAConfig, but is {kwargs[name]!r}: SoRA changes a fused "
                    "projection as a whole, since its branch has the same ranks for all outputs and becomes "
                    "a plain LoRA, which has no parts. Leave it out, or use QAAConfig, which adapts parts."
                )
        return super().__new__(cls, *args, **kwargs)

    def rank_of(self, module_name: str) -> int:
        """Look up the rank of a module: `rank_pattern`'s, else `r`.

        Example:
            >>> SoRAConfig(r=8, rank_pattern={"v_proj": 2}).rank_of("layers.0.v_proj")
            2
        """
        return pattern_value(self.rank_pattern, module_name, self.r)

    def alpha_of(self, module_name: str) -> float:
        """Look up the alpha of a module: `alpha_pattern`'s, else `lora_alpha`."""
        return pattern_value(self.alpha_pattern, module_name, self.lora_alpha)

    def scaling_of(self, module_name: str) -> float:
        """Compute the scale of a module's branch: its alpha over its rank."""
        return self.alpha_of(module_name) / self.rank_of(module_name)

    def __post_init__(self) -> None:
        """Check the fields and set the peft type."""
        super().__post_init__()
        self.peft_type = PeftType("SORA")
        _check_rank(self.r)
        _check_alpha(self.lora_alpha)
        check_pattern("rank_pattern", self.rank_pattern, _check_rank)
        check_pattern("alpha_pattern", self.alpha_pattern, _check_alpha)
        if not 0 <= self.lora_dropout < 1:
            raise ConfigError(
                f"`lora_dropout` must be at least 0 and below 1, but is {self.lora_dropout!r}. "
                "Give a probability, or leave it unset for none."
            )
        check_integer("pruned_gates", self.pruned_gates, 0, "Leave it unset: `prune_gates` writes it itself.")
        check_proximal_fields(**{name: getattr(self, name) for name in PROXIMAL_FIELDS})


def _check_rank(r: Any) -> None:
    if isinstance(r, bool) or not isinstance(r, int) or r < 1:
        raise ConfigError(f"`r` must be a positive integer, but is {r!r}. Give the rank, such as r: 8.")


def _check_alpha(lora_alpha: Any) -> None:
    if not _is_number(lora_alpha) or not lora_alpha > 0:
        raise ConfigError(
            f"`lora_alpha` must be above 0 and finite, but is {lora_alpha!r}. The reference code uses "
            "lora_alpha: 16."
        )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_proximal_fields(
    sparse_lambda: float,
    threshold: Any,
    threshold_rule: Any,
    lambda_schedule: Any,
    lambda_num_steps: int | None,
    lambda_end: float | None,
) -> None:
    """Raise unless the arguments describe a proximal step and its schedule; see the fields of SoRAConfig.

    Raises:
        ConfigError: a value is not allowed, or the schedule lacks its end or its length.
    """
    for name, value, kinds in (
        ("threshold", threshold, get_args(Threshold)),
        ("threshold_rule", threshold_rule, get_args(ThresholdRule)),
        ("lambda_schedule", lambda_schedule, get_args(LambdaSchedule)),
    ):
        check_choice(name, value, kinds)
    if not _is_number(sparse_lambda) or sparse_lambda < 0:
        raise ConfigError(
            f"`sparse_lambda` must be at least 0 and finite, but is {sparse_lambda!r}. The reference code "
            "uses 3e-4; 0 keeps all gates."
        )
    if lambda_schedule == "constant":
        for name, given in (("lambda_num_steps", lambda_num_steps), ("lambda_end", lambda_end)):
            if given is not None:
                raise ConfigError(
                    f"`{name}` must be left unset with lambda_schedule: 'constant', but is {given!r}. "
                    "Choose lambda_schedule: 'linear' or 'log-linear' to move lambda."
                )
        return
    if isinstance(lambda_num_steps, bool) or not isinstance(lambda_num_steps, int) or lambda_num_steps < 1:
        raise ConfigError(
            f"`lambda_num_steps` must be a positive integer with lambda_schedule: {lambda_schedule!r}, but "
            f"is {lambda_num_steps!r}. Give the number of optimizer steps of the training run."
        )
    if not _is_number(lambda_end) or lambda_end < 0:
        raise ConfigError(
            f"`lambda_end` must be at least 0 and finite with lambda_schedule: {lambda_schedule!r}, but "
            f"is {lambda_end!r}. Give the lambda of the last step."
        )
    if lambda_schedule == "log-linear" and not (sparse_lambda > 0 and lambda_end > 0):
        raise ConfigError(
            "`sparse_lambda` and `lambda_end` must be above 0 with lambda_schedule: 'log-linear', but are "
            f"{sparse_lambda!r} and {lambda_end!r}. Start from a small value such as 1e-5, or use 'linear'."
        )
