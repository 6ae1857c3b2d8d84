"""The settings that SoRA's authors publish for the GLUE tasks."""

from dataclasses import dataclass
from typing import Any

from amplitune.adapters.sora.config import SoRAConfig
from amplitune.errors import check_choice

_METRICS = {
    "cola": "matthews_correlation",
    "mnli": "accuracy",
    "mrpc": "f1",
    "qnli": "accuracy",
    "qqp": "accuracy",
    "rte": "accuracy",
    "sst2": "accuracy",
    "stsb": "pearson",
}


@dataclass(frozen=True)
class GluePreset:
    """The settings of the reference code's script for DeBERTaV3-base on GLUE.

    The script is set to STS-B and names the other tasks as alternatives, without values of their own: here
    too, the numbers are the same for all of them.

    Args:
        task: the name of the GLUE task, such as "stsb".
        num_labels: outputs of the classifier; 1 is a regression.
        model_name_or_path: the base model.
        sora: fields of SoRAConfig.
        optimizer: arguments of `create_sora_optimizer`.
        training: arguments of transformers' TrainingArguments; `metric_for_best_model` is the task's.
        gate_penalty: weight of `gate_penalty(model)` in the loss.
        max_seq_length: tokens of an example, both of its sentences together.
        seeds: the seeds over which the script runs.

    Source:
        github.com/TsinghuaC3I/SoRA: scripts/run_glue_sora_no_schedule.sh, config/lora_config.json,
        run_glue.py, src/lora.py, src/trainer.py, src/util.py; the names of modules from
        github.com/thunlp/OpenDelta, opendelta/utils/structure_mapping.py.
    """

    task: str
    num_labels: int
    model_name_or_path: str
    sora: dict[str, Any]
    optimizer: dict[str, Any]
    training: dict[str, Any]
    gate_penalty: float
    max_seq_length: int
    seeds: tuple[int, ...]

    def config(self, **overrides: Any) -> SoRAConfig:
        """Make the SoRAConfig, with some fields replaced."""
        return SoRAConfig(**self.sora | overrides)


def glue_preset(task: str) -> GluePreset:
    """Look up the published settings for a GLUE task.

    They train with a loss that has a term beside the task's, see `gate_penalty`, and with the reference
    code's update of the gates, see `threshold_rule`. Adapters are in all projections of attention and in both
    of the feed-forward block, whose layer norms are trained too. The pooler and the classifier, which are
    new, are trained here; the script's configuration does not name them.

    Args:
        task: "cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2" or "stsb".

    Returns:
        The settings.

    Raises:
        ConfigError: there is no such task.

    Example:
        >>> preset = glue_preset("stsb")
        >>> preset.config().sparse_lambda, preset.optimizer["lr"], preset.gate_penalty
        (0.0003, 0.0008, 10.0)
    """
    check_choice("task", task, _METRICS)
    return GluePreset(
        task=task,
        num_labels={"stsb": 1, "mnli": 3}.get(task, 2),
        model_name_or_path="microsoft/deberta-v3-base",
        sora={
            "task_type": "SEQ_CLS",
            "r": 8,
            "lora_alpha": 16,
            "lora_dropout": 0.0,
            "sparse_lambda": 3e-4,
            "threshold": "lambda",
            "threshold_rule": "reference",
            "lambda_schedule": "constant",
            # "output.dense" is in both blocks; the pooler's "dense" is none of them.
            "target_modules": ["query_proj", "key_proj", "value_proj", "intermediate.dense", "output.dense"],
            "modules_to_save": ["output.LayerNorm", "pooler", "classifier"],
        },
        optimizer={"lr": 8e-4, "weight_decay": 0.1},
        training={
            "num_train_epochs": 20,
            "per_device_train_batch_size": 8,
            "per_device_eval_batch_size": 8,
            "lr_scheduler_type": "linear",
            # A share of all steps, as it is below 1.
            "warmup_steps": 0.06,
            "max_grad_norm": 0.1,
            "eval_strategy": "steps",
            "eval_steps": 1000,
            "save_strategy": "steps",
            "save_steps": 1000,
            "load_best_model_at_end": True,
            "metric_for_best_model": _METRICS[task],
            "greater_is_better": True,
        },
        gate_penalty=10.0,
        max_seq_length=128,
        seeds=(0, 21, 42, 81, 100),
    )
