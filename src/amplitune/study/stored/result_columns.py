"""The columns of a study's tables of results."""

from amplitune.study.metrics import METRICS

QUALITY = tuple(METRICS)

TEXT = (
    "task",
    "kind",
    "method",
    "status",
    "reason",
    "command",
    "environment",
    "primary_metric",
    "bleu_signature",
    "peak_memory_kind",
    "energy_kind",
)
EFFICIENCY = (
    "trainable_parameters",
    "angles",
    "classical_parameters",
    "total_parameters",
    "adapter_bytes",
    "peak_memory_bytes",
    "peak_reserved_bytes",
    "weights_bytes",
    "gradients_bytes",
    "optimizer_bytes",
    "activations_bytes",
    "step_seconds",
    "train_seconds",
    "tokens_per_second",
    "generation_tokens_per_second",
    "energy_joules",
    "generation_energy_joules",
)
LEARNED = (
    "held_out_perplexity_before",
    "held_out_perplexity",
    "effective_rank",
    "stable_rank",
    "cka",
    "linear_share",
)
"""Medians over a run's modules (the rows of `modules`), and perplexity on text that no task is about."""

TABLE_COLUMNS = (
    *("task", "kind", "method", "seed", "status", "reason", "command", "environment"),
    *("primary_metric", "primary_value", "higher_is_better"),
    *QUALITY,
    "bleu_signature",
    *EFFICIENCY[:6],
    "peak_memory_kind",
    *EFFICIENCY[6:],
    "energy_kind",
    *LEARNED,
    "seconds",
)
CURVE_COLUMNS = ("task", "method", "seed", "split", "step", "tokens", "seconds", "loss", "grad_norm")
PREDICTION_COLUMNS = ("task", "method", "seed", "id", "prompt", "prediction", "references", "sums")
MODULE_COLUMNS = ("task", "method", "seed", "module", "effective_rank", "stable_rank", "cka", "linear_share")
"""What each module's record has; circuit measures are columns besides, where runs have them."""
