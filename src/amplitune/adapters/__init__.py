"""QAA, SoRA and CONTROL as peft tuners; importing this package registers them with peft."""

from amplitune.adapters.control.config import ControlConfig
from amplitune.adapters.parameters import ParameterCount, count_parameters
from amplitune.adapters.qaa.config import QAAConfig
from amplitune.adapters.registration import register
from amplitune.adapters.sora.callback import SoRACallback, gate_metrics
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.gates import GateSparsity, gate_penalty, gate_sparsity
from amplitune.adapters.sora.presets import GluePreset, glue_preset
from amplitune.adapters.sora.proximal import create_sora_optimizer
from amplitune.adapters.sora.prune import prune_to_lora, save_as_lora
from amplitune.adapters.sora.prune_gates import prune_gates

__all__ = [
    "ControlConfig",
    "GateSparsity",
    "GluePreset",
    "ParameterCount",
    "QAAConfig",
    "SoRACallback",
    "SoRAConfig",
    "count_parameters",
    "create_sora_optimizer",
    "gate_metrics",
    "gate_penalty",
    "gate_sparsity",
    "glue_preset",
    "prune_gates",
    "prune_to_lora",
    "register",
    "save_as_lora",
]

register()
