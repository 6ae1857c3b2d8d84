"""The tuner that puts SoRA adapters into a model."""

from amplitune.adapters.sora.layer import SoRALinear
from amplitune.adapters.tuner import LinearTuner


class SoRAModel(LinearTuner):
    """A model whose target modules carry a SoRA branch; made by `peft.get_peft_model` from a SoRAConfig."""

    prefix = "sora_"
    tuner_layer_cls = SoRALinear
