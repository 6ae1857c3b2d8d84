"""Measurements as columns: key in the results table, label, how a number is written, meaning."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from amplitune.report.units import count, duration, energy, rate, significant, size


@dataclass(frozen=True)
class Column:
    """A measurement as a column: its key in the results table, its label, how it is written, its meaning."""

    key: str
    label: str
    write: Callable[[float], str]
    meaning: str
    group: str = ""


def fixed(digits: int) -> Callable[[float], str]:
    """Write numbers with a fixed number of digits after the point, and with a true minus."""

    def write(value: float) -> str:
        return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else ""

    return write


def _metric(key: str, label: str, digits: int, meaning: str) -> Column:
    return Column(key, label, fixed(digits), meaning, "Quality on the test split")


_METRICS = (
    _metric("bleu", "BLEU", 1, "corpus BLEU, 0 to 100, higher is better"),
    _metric("rouge1", "ROUGE-1", 3, "stemmed ROUGE-1 F, 0 to 1, higher is better"),
    _metric("rouge2", "ROUGE-2", 3, "stemmed ROUGE-2 F, 0 to 1, higher is better"),
    _metric("rougeL", "ROUGE-L", 3, "stemmed ROUGE-L F, 0 to 1, higher is better"),
    _metric("bertscore_f1", "BERTScore", 3, "BERTScore F1, higher is better"),
    _metric("accuracy", "Accuracy", 3, "share of right labels, 0 to 1, higher is better"),
    _metric("f1", "F1", 3, "0 to 1, higher is better"),
    _metric("mcc", "MCC", 3, "Matthews correlation, -1 to 1, higher is better"),
    _metric("perplexity", "Perplexity", 2, "of the reference answer, lower is better"),
)
METRICS = {column.key: column for column in _METRICS}

_PARAMETERS = "Trainable parameters"
COST = (
    Column("trainable_parameters", "all", count, "all trained numbers", _PARAMETERS),
    Column("angles", "angles", count, "rotation angles of the circuits", _PARAMETERS),
    Column("classical_parameters", "weights", count, "trained numbers outside the circuits", _PARAMETERS),
    Column("adapter_bytes", "Adapter", size, "bytes saved for the task; 1 KB is 1000 bytes", "Cost"),
    Column("peak_memory_bytes", "Peak memory", size, "peak memory of the run; 1 MB is 1000 KB", "Cost"),
    Column("step_seconds", "Step", duration, "time of one optimizer step, without evaluation", "Cost"),
    Column("generation_tokens_per_second", "Tokens/s", rate, "tokens generated per second", "Cost"),
)

_TARGET = "To the target loss"
CONVERGENCE = (
    Column(
        "steps_to_target",
        "Steps",
        count,
        "optimizer steps until the validation loss was at the target; runs that never were do not count",
        _TARGET,
    ),
    Column("tokens_to_target", "Tokens", count, "tokens trained on until then", _TARGET),
    Column("seconds_to_target", "Time", duration, "time of training until then", _TARGET),
    Column(
        "area_under_curve",
        "Area",
        significant,
        "area under the curve of the validation loss, as a mean loss: less is sooner or further down",
        "The whole training",
    ),
    Column(
        "grad_norm_variance",
        "Gradient noise",
        significant,
        "variance of the logarithm of the gradient's norm after warm-up",
        "The whole training",
    ),
    Column(
        "train_seconds",
        "Time",
        duration,
        "time of the whole training, without evaluation",
        "The whole training",
    ),
)

_PEAK = "Peak"
_SPLIT = "Of which"
MEMORY = (
    Column("peak_memory_bytes", "Allocated", size, "peak memory of the run, resident on a CPU", _PEAK),
    Column("peak_reserved_bytes", "Reserved", size, "what the allocator of a GPU held at most", _PEAK),
    Column("weights_bytes", "Weights", size, "the model's and the adapter's", _SPLIT),
    Column("gradients_bytes", "Gradients", size, "gradients of the trained weights", _SPLIT),
    Column("optimizer_bytes", "Optimizer", size, "the optimizer's state", _SPLIT),
    Column(
        "activations_bytes",
        "Activations",
        size,
        "on a GPU the rest of the peak, on a CPU what a step on the longest batch held",
        _SPLIT,
    ),
    Column("energy_joules", "Training", energy, "energy of training, where the device reports it", "Energy"),
    Column(
        "generation_energy_joules",
        "Generation",
        energy,
        "energy of generating, where the device reports it",
        "Energy",
    ),
)

_CHANGE = "Change in activations, median over modules"
_HELD_OUT = "Perplexity of held-out text"
LEARNED = (
    Column(
        "effective_rank",
        "Effective rank",
        fixed(1),
        "of the change in activations: the exponential of its spectrum's entropy",
        _CHANGE,
    ),
    Column(
        "stable_rank",
        "Stable rank",
        fixed(1),
        "of the change in activations: its squared norm over its largest squared singular value",
        _CHANGE,
    ),
    Column("cka", "CKA", fixed(3), "similarity to the base model's activations, 1 is the same", _CHANGE),
    Column("linear_share", "Linear", fixed(3), "share of the change that a linear map explains", _CHANGE),
    Column("held_out_perplexity_before", "Before", fixed(2), "of the untouched model", _HELD_OUT),
    Column("held_out_perplexity", "After", fixed(2), "after training; more is forgetting", _HELD_OUT),
)
CIRCUIT = (
    Column(
        "input_entanglement",
        "Input entangled",
        fixed(3),
        "Meyer and Wallach's entanglement of the encoded inputs",
    ),
    Column(
        "circuit_entanglement", "After circuit", fixed(3), "the same after the circuit, at the trained angles"
    ),
    Column(
        "input_fidelity", "Input fidelity", fixed(3), "how alike two encoded inputs are, 1 is the same state"
    ),
    Column("readout_variance", "Readout variance", significant, "of an expectation value over tokens"),
)
"""What a module's circuit does, in the table of modules; what is not here is shown under its own name."""
