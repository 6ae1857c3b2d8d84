"""The tuner that puts CONTROL adapters into a model."""

from amplitune.adapters.control.layer import ControlLinear
from amplitune.adapters.tuner import AdapterTuner


class ControlModel(AdapterTuner):
    """A model whose target modules carry a CONTROL branch; made by `peft.get_peft_model`."""

    prefix = "control_"
    tuner_layer_cls = ControlLinear
    layer_classes = (ControlLinear,)
