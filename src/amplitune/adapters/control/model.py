"""The tuner that puts CONTROL adapters into a model."""

from typing import Any, ClassVar

from torch import nn

from amplitune.adapters.control.layer import ControlLinear
from amplitune.adapters.control.weighted import add_up_projections
from amplitune.adapters.tuner import NO_WEIGHT, AdapterTuner
from amplitune.adapters.weighted import check_combination

_ONLY_LINEAR = (
    "It is exact: the up-projections are added up, and what they project is the same for all. Leave it unset."
)


class ControlModel(AdapterTuner):
    """A model whose target modules carry a CONTROL branch; made by `peft.get_peft_model`."""

    prefix = "control_"
    tuner_layer_cls = ControlLinear
    layer_classes = (ControlLinear,)
    refusals: ClassVar[dict[type[nn.Module], str]] = {nn.MultiheadAttention: NO_WEIGHT}

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "linear",
        **options: Any,
    ) -> None:
        """Add an adapter whose branch is the weighted sum of others' branches, exactly.

        It is as large as each of them. It is added inactive; a name that is taken changes nothing, as with
        LoRA in peft.

        Args:
            adapters: names of adapters with the same features; classical twins also with the same angles.
            weights: a number for each, negative ones too.
            adapter_name: the new adapter's name.
            combination_type: "linear".
            **options: none; peft's options of LoRA's other ways are refused.

        Raises:
            ConfigError: naming the argument, or the field in which the features differ.
        """
        if adapter_name in self.peft_config:
            return
        check_combination(self, adapters, weights, combination_type, ("linear",), options, _ONLY_LINEAR)
        add_up_projections(self, adapters, weights, adapter_name)
