"""The tuner that puts QAA adapters into a model."""

from typing import NoReturn

from amplitune.adapters.qaa.layer import NOT_MERGEABLE, QAALayer, QAALinear
from amplitune.adapters.tuner import AdapterTuner
from amplitune.errors import NotMergeableError


class QAAModel(AdapterTuner):
    """A model whose target modules carry a QAA branch; made by `peft.get_peft_model` from a QAAConfig."""

    prefix = "qaa_"
    tuner_layer_cls = QAALayer
    layer_classes = (QAALinear,)

    def _check_merge_allowed(self) -> NoReturn:
        """Refuse to merge before the first layer is touched."""
        raise NotMergeableError(NOT_MERGEABLE)
