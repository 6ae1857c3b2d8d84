"""The tuner that puts SoRA adapters into a model."""

from amplitune.adapters.sora.convolution import SoRAConvolution
from amplitune.adapters.sora.embedding import SoRAEmbedding
from amplitune.adapters.sora.layer import SoRALayer, SoRALinear
from amplitune.adapters.tuner import AdapterTuner


class SoRAModel(AdapterTuner):
    """A model whose target modules carry a SoRA branch; made by `peft.get_peft_model` from a SoRAConfig."""

    prefix = "sora_"
    tuner_layer_cls = SoRALayer
    layer_classes = (SoRALinear, SoRAEmbedding, SoRAConvolution)
