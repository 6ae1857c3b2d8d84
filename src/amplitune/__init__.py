"""Quantum-amplitude adapters (QAA) and SoRA as ordinary PEFT methods, and a fair comparison of them."""

from importlib.metadata import version

from amplitune.adapters import (
    ControlConfig,
    ParameterCount,
    QAAConfig,
    SoRACallback,
    SoRAConfig,
    count_parameters,
    create_sora_optimizer,
    gate_sparsity,
    prune_gates,
    prune_to_lora,
)

__version__ = version("amplitune")

__all__ = [
    "ControlConfig",
    "ParameterCount",
    "QAAConfig",
    "SoRACallback",
    "SoRAConfig",
    "__version__",
    "count_parameters",
    "create_sora_optimizer",
    "gate_sparsity",
    "prune_gates",
    "prune_to_lora",
]
