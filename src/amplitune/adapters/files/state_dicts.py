"""The part of a tuner by which peft finds the tensors of an adapter in a model, to save and to load them."""

from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from amplitune.adapters.files.checkpoint import adapter_tensors, check_adapter_keys, named_tensors, state_name
from amplitune.adapters.files.loading import remove_unloaded, tensors_loaded
from amplitune.adapters.files.reloading import check_same_settings
from amplitune.errors import ConfigError

_FSDP = "_fsdp_wrapped_module."


class StateDictTuner(BaseTuner):
    """What our tuners put in the place of peft's own choice of tensors.

    peft looks for the tensors of a layer under its name in the tree of modules. torch's wrappers for
    activation checkpointing, and those of FSDP 1 around single layers, have a place in that tree and leave
    themselves out of state dicts: what is inside of them would be missing from the file, in silence.
    """

    tuner_layer_cls: type[BaseTunerLayer]

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: Any,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        """Choose the tensors that are saved, those of wrapped layers among them."""
        keys = _by_tree_name(model, state_dict)
        renamed = {name: state_dict[key] for name, key in keys.items()}
        chosen = super()._get_adapter_state_dict(model, config, adapter_name, renamed, unwanted_adapter_names)
        return {keys[name]: value for name, value in chosen.items()}

    @classmethod
    def _get_learnable_bias_state_dict(
        cls, model: nn.Module, state_dict: dict[str, Tensor], config: Any
    ) -> dict[str, Tensor]:
        """Choose the biases that are saved with the adapter; modules to save bring theirs along."""
        keys = _by_tree_name(model, state_dict)
        renamed = {name: state_dict[key] for name, key in keys.items()}
        biases = super()._get_learnable_bias_state_dict(model, renamed, config)
        return {keys[name]: bias for name, bias in biases.items() if ".modules_to_save." not in name}

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Name the tensors as the model does; refuse a file that lacks or adds any, or of other settings.

        peft calls this from `set_peft_model_state_dict`, thus in each of its ways to load an adapter, before
        the first tensor is copied: nothing is half loaded. peft itself loads with `strict=False`, warns of
        missing keys in `from_pretrained` alone, and drops unexpected ones.
        """
        remapped = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        wrapped = {
            cls._remove_adapter_name_from_key(name, adapter_name): name
            for name in adapter_tensors(model, cls.tuner_layer_cls, adapter_name)
        }
        remapped = {wrapped.get(key, key): value for key, value in remapped.items()}
        biases = cls._get_learnable_bias_state_dict(model, named_tensors(model), config)
        try:
            check_adapter_keys(model, cls.tuner_layer_cls, adapter_name, remapped, biases)
            check_same_settings(config, adapter_name)
        except ConfigError:
            remove_unloaded(model, cls.tuner_layer_cls, cls.prefix, config, adapter_name)
            raise
        tensors_loaded(config)
        return remapped


def _by_tree_name(model: nn.Module, state_dict: dict[str, Tensor]) -> dict[str, str]:
    """Give the keys of a state dict by the names that their tensors have in the tree of modules."""
    tree = {
        state_name(name): name.removeprefix(_FSDP)
        for name, _ in (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        )
    }
    return {tree.get(state_name(key), key): key for key in state_dict}
