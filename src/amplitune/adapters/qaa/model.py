"""The tuner that puts QAA adapters into a model."""

from typing import Any, ClassVar

from torch import nn

from amplitune.adapters.qaa.convolution import QAAConvolution
from amplitune.adapters.qaa.fused import with_layouts
from amplitune.adapters.qaa.layer import QAALayer, QAALinear
from amplitune.adapters.qaa.shared import siblings_of
from amplitune.adapters.qaa.weighted import concatenate_circuits
from amplitune.adapters.tuner import NO_WEIGHT, AdapterTuner
from amplitune.adapters.weighted import check_combination

_NO_AMPLITUDES = (
    "An index has no amplitudes: as a basis state of ceil(log2(num_embeddings)) qubits it would give values "
    "that follow the bits of the index, under the paper's circuit a sign times a constant, and say nothing "
    "of the token. Adapt the linear layers behind it with QAA, the embedding itself with SoRAConfig, with "
    "`trainable_token_indices` of peft's LoraConfig, or in full with `modules_to_save`."
)

_ONLY_CAT = (
    "It is exact. Sums of angles, or of up-projections of different circuits, mean nothing. Leave it unset."
)


class QAAModel(AdapterTuner):
    """A model whose target modules carry a QAA branch; made by `peft.get_peft_model` from a QAAConfig."""

    prefix = "qaa_"
    tuner_layer_cls = QAALayer
    layer_classes = (QAALinear, QAAConvolution)
    refusals: ClassVar[dict[type[nn.Module], str]] = {
        nn.Embedding: _NO_AMPLITUDES,
        nn.MultiheadAttention: NO_WEIGHT,
    }

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        """Fill in `target_modules` and the layouts of fused projections for the architecture."""
        config = super()._prepare_adapter_config(peft_config, model_config)
        names = [name for name, _ in self.model.named_modules()]
        config.fused_layouts = with_layouts(config.fused_parts, config.fused_layouts, model_config, names)
        return config

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

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "cat",
        **options: Any,
    ) -> None:
        """Add an adapter whose branch is the weighted sum of others' branches, exactly.

        Its circuits are all of theirs in parallel. It is added inactive; a name that is taken changes
        nothing, as with LoRA in peft.

        Args:
            adapters: names of adapters whose circuits have the same fields, but for the angles.
            weights: a number for each, negative ones too.
            adapter_name: the new adapter's name.
            combination_type: "cat".
            **options: none; peft's options of LoRA's other ways are refused.

        Raises:
            ConfigError: naming the argument, or the field in which the circuits differ.
        """
        if adapter_name in self.peft_config:
            return
        check_combination(self, adapters, weights, combination_type, ("cat",), options, _ONLY_CAT)
        concatenate_circuits(self, adapters, weights, adapter_name)
