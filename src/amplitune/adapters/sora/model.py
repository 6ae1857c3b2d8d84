"""The tuner that puts SoRA adapters into a model."""

from torch import nn

from amplitune.adapters.sora.convolution import SoRAConvolution
from amplitune.adapters.sora.embedding import SoRAEmbedding
from amplitune.adapters.sora.layer import SoRALayer, SoRALinear
from amplitune.adapters.tied_weights import untie
from amplitune.adapters.tuner import AdapterTuner


class SoRAModel(AdapterTuner):
    """A model whose target modules carry a SoRA branch; made by `peft.get_peft_model` from a SoRAConfig."""

    prefix = "sora_"
    tuner_layer_cls = SoRALayer
    layer_classes = (SoRALinear, SoRAEmbedding, SoRAConvolution)

    def _check_merge_allowed(self) -> None:
        """Ask every layer before the first is merged, and untie what a merge would change elsewhere."""
        layers = [module for module in self.model.modules() if isinstance(module, SoRALayer)]
        for layer in layers:
            layer.check_merge_allowed()
        untie(self.model, layers)
        super()._check_merge_allowed()

    def _get_tied_target_modules(self, model: nn.Module) -> list[str]:
        """Leave out peft's advice to untie the weights first."""
        return []
