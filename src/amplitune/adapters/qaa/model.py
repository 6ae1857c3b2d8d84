"""The tuner that puts QAA adapters into a model."""

from typing import Any

from torch import nn

from amplitune.adapters.qaa.layer import QAALayer, QAALinear
from amplitune.adapters.qaa.shared import siblings_of
from amplitune.adapters.tuner import AdapterTuner


class QAAModel(AdapterTuner):
    """A model whose target modules carry a QAA branch; made by `peft.get_peft_model` from a QAAConfig."""

    prefix = "qaa_"
    tuner_layer_cls = QAALayer
    layer_classes = (QAALinear,)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Wrap a layer; with `share_circuit`, let it use the circuit of a sibling that was wrapped before."""
        super()._create_and_replace(peft_config, adapter_name, target, target_name, parent, *args, **kwargs)
        layer = getattr(parent, target_name)
        if not peft_config.share_circuit or not isinstance(layer, QAALinear):
            return
        siblings = ((name, getattr(parent, name, None)) for name in siblings_of(target_name))
        for name, sibling in siblings:
            if isinstance(sibling, QAALinear) and layer.share_circuit(
                adapter_name, target_name, sibling, name
            ):
                return
