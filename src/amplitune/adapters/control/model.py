"""The tuner that puts CONTROL adapters into a model."""

from typing import ClassVar

from torch import nn

from amplitune.adapters.control.layer import ControlLinear
from amplitune.adapters.tuner import NO_WEIGHT, AdapterTuner


class ControlModel(AdapterTuner):
    """A model whose target modules carry a CONTROL branch; made by `peft.get_peft_model`."""

    prefix = "control_"
    tuner_layer_cls = ControlLinear
    layer_classes = (ControlLinear,)
    refusals: ClassVar[dict[type[nn.Module], str]] = {nn.MultiheadAttention: NO_WEIGHT}
