"""The tuner that puts SoRA adapters into a model."""

from typing import Any

from amplitune.adapters.sora.convolution import SoRAConvolution
from amplitune.adapters.sora.embedding import SoRAEmbedding
from amplitune.adapters.sora.layer import SoRALayer, SoRALinear
from amplitune.adapters.sora.multihead_attention import SoRAMultiheadAttention
from amplitune.adapters.sora.weighted import COMBINATION_TYPES, combine_ranks
from amplitune.adapters.tuner import AdapterTuner
from amplitune.adapters.weighted import check_combination

_AS_LORA = (
    "For the other ways of peft's LoRA, make LoRA adapters of them first, with prune_to_lora(model, name) or "
    "save_as_lora(model, folder, name), and load these into one model."
)


class SoRAModel(AdapterTuner):
    """A model whose target modules carry a SoRA branch; made by `peft.get_peft_model` from a SoRAConfig."""

    prefix = "sora_"
    tuner_layer_cls = SoRALayer
    layer_classes = (SoRALinear, SoRAEmbedding, SoRAConvolution, SoRAMultiheadAttention)

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "cat",
        svd_rank: int | None = None,
        **options: Any,
    ) -> None:
        """Add a weighted combination of adapters as a new one, under peft's signature.

        "cat" and "svd" keep the sum of the changes of weight, "svd" its largest singular values alone;
        "linear" adds A and B up by themselves, as peft does for LoRA. The new adapter has scale 1 and the
        first one's dropout and schedule. It is added inactive; a name that is taken changes nothing, as in
        peft.

        Args:
            adapters: names of adapters.
            weights: a number for each, negative ones too.
            adapter_name: the new adapter's name.
            combination_type: "cat", all ranks side by side with their gates; "linear", for equal ranks; or
                "svd", with the singular values as gates.
            svd_rank: for "svd", the rank; each module's largest if unset.
            **options: none; peft's options of LoRA's other ways are refused.

        Raises:
            ConfigError: naming the argument.
        """
        if adapter_name in self.peft_config:
            return
        check_combination(self, adapters, weights, combination_type, COMBINATION_TYPES, options, _AS_LORA)
        combine_ranks(self, adapters, weights, adapter_name, combination_type, svd_rank)
