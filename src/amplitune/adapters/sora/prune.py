"""The pruning of a SoRA adapter to a plain, smaller LoRA adapter."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors.torch import save_file
from torch import Tensor, nn

from amplitune.adapters.patterns import exact_key
from amplitune.adapters.sora.adapted import plain_name
from amplitune.adapters.sora.config import SoRAConfig
from amplitune.adapters.sora.gates import check_whole, gate_sparsity, sora_layers, targets_of
from amplitune.adapters.sora.layer import SoRALayer, SoRALinear
from amplitune.errors import AmplituneError, ConfigError, near_matches

_PREFIX = "base_model.model."


def prune_to_lora(model: PeftModel, adapter_name: str = "default") -> PeftModel:
    """Turn a SoRA adapter into the LoRA adapter of the ranks whose gates are not zero.

        B' = (lora_alpha / r) B diag(g) restricted to g != 0,   A' = A restricted to g != 0,   scale 1

    Logits equal the SoRA model's to float precision, modules to save included. A module keeps as many ranks
    as it has gates: `r` is the largest number of them, `rank_pattern` and `alpha_pattern` have the others, so
    that the scale is 1 with and without the patterns. A module without gates is no target any more. Any PEFT
    tool loads the result, amplitune need not be installed; vLLM does with a `max_lora_rank` of at least `r`,
    if there are no modules to save and no trained biases, which it refuses in any LoRA, nor whole embeddings
    (`save_embedding_layers=False` where the result is saved).

    As with `merge_and_unload`, the base model moves into the result and its other adapters are lost: go on
    with the returned model, not with `model`.

    Args:
        model: a PeftModel with a SoRA adapter, none merged.
        adapter_name: the adapter; the result has it under the same name, trainable.

    Returns:
        A LoRA PeftModel of the same task type.

    Raises:
        ConfigError: no such SoRA adapter, one is merged, all of its gates are zero, or peft's LoRA of a layer
            would compute something else: around convolutions with a dilation or a padding mode, around the
            output of a MultiheadAttention in some versions, in a TransformerEncoderLayer; `model` is
            unchanged.

    Source:
        Ding et al., EMNLP 2023, arXiv 2311.11696, section 3.2.

    Example:
        >>> import torch
        >>> from amplitune import SoRAConfig
        >>> net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        >>> sora = get_peft_model(net, SoRAConfig(r=3, target_modules=["0", "1"]))
        >>> with torch.no_grad():
        ...     _ = net[0].sora_gate["default"][1:].zero_(), net[1].sora_gate["default"].zero_()
        >>> lora = prune_to_lora(sora)
        >>> lora.peft_config["default"].r, sorted(lora.peft_config["default"].target_modules)
        (1, ['0'])
    """
    # The embeddings are not among the tensors: they move into the result with the base model.
    lora_config, tensors = as_lora(model, adapter_name, save_embedding_layers=False)
    wrapped = [name for name, _ in sora_layers(model, adapter_name) if plain_name(name) != name]
    if wrapped:
        raise ConfigError(
            "`model` must have no wrappers around its layers to become a LoRA, but the layer "
            f"{wrapped[0]} is in one (torch.compile, activation checkpointing). Compile layers in place with "
            "their `compile()`, or write the LoRA with save_as_lora and open it on a new base model."
        )
    training = model.training
    base = _unload_untouched(model)
    lora = get_peft_model(base, lora_config, adapter_name=adapter_name)
    lora.train(training)
    result: Any = set_peft_model_state_dict(lora, tensors, adapter_name=adapter_name)
    if result.unexpected_keys:
        raise AmplituneError(f"peft's LoRA did not take {result.unexpected_keys}. Please report this.")
    return lora


def save_as_lora(
    model: PeftModel,
    save_directory: str | Path,
    adapter_name: str = "default",
    *,
    save_embedding_layers: Literal["auto"] | bool = "auto",
) -> None:
    """Save what `prune_to_lora` would give and leave the model as it is, to train on.

    Args:
        model: a PeftModel with a SoRA adapter, none merged.
        save_directory: the folder for adapter_config.json and adapter_model.safetensors; made if need be.
        adapter_name: the adapter.
        save_embedding_layers: as in peft's `save_pretrained`: "auto" also writes the base weights of
            embed_tokens and lm_head where these are targets or have been resized; False never does, which
            vLLM asks for.

    Raises:
        ConfigError: as in `prune_to_lora`; nothing is written.
    """
    lora_config, tensors = as_lora(model, adapter_name, save_embedding_layers)
    lora_config.inference_mode = True
    lora_config.save_pretrained(str(save_directory), auto_mapping_dict=_auto_mapping(model, lora_config))
    whole = {key: value.contiguous() for key, value in tensors.items()}
    save_file(whole, Path(save_directory) / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})


def _auto_mapping(model: PeftModel, config: LoraConfig) -> dict[str, str] | None:
    """Name the base model's class, by which AutoPeftModel opens an adapter without a task; as peft does."""
    base = type(model.get_base_model())
    return (
        None if config.task_type else {"base_model_class": base.__name__, "parent_library": base.__module__}
    )


def as_lora(
    model: PeftModel, adapter_name: str, save_embedding_layers: Literal["auto"] | bool
) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Describe the LoRA and compute its tensors, by the names under which peft saves them."""
    given: nn.Module = model
    if not isinstance(given, PeftModel):
        remedy = (
            "Give the PeftModel inside of it. There is none if the adapter came by the model's own "
            "`add_adapter`: save it with model.save_pretrained(folder) and open the folder with "
            "PeftModel.from_pretrained(base, folder)."
            if any(isinstance(module, SoRALayer) for module in given.modules())
            else "Make one with peft.get_peft_model(model, SoRAConfig(...))."
        )
        raise ConfigError(
            f"`model` must be a PeftModel with a SoRA adapter, but is {type(model).__name__}. {remedy}"
        )
    config = model.peft_config.get(adapter_name)
    if not isinstance(config, SoRAConfig):
        names = [name for name, other in model.peft_config.items() if isinstance(other, SoRAConfig)]
        hint = near_matches(adapter_name, names) if names else "The model has no SoRA adapter at all."
        raise ConfigError(f"`adapter_name` must be a SoRA adapter, but is {adapter_name!r}. {hint}")
    layers = {
        plain_name(name.removeprefix(_PREFIX)): layer for name, layer in sora_layers(model, adapter_name)
    }
    tuner_layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    merged = sorted({name for layer in tuner_layers for name in layer.merged_adapters})
    if merged:
        raise ConfigError(
            f"No adapter must be merged when one is pruned, as the base model would keep it, but {merged} "
            "are. Call model.unmerge_adapter() first."
        )
    for name, layer in layers.items():
        check_whole(name, layer, adapter_name)
    targets = targets_of(layers)
    left = {targets[name] for name, layer in layers.items() if bool(layer.sora_gate[adapter_name].any())}
    kept = {name: layer for name, layer in layers.items() if name in left}
    if not kept:
        gates = gate_sparsity(model, adapter_name).gates
        raise ConfigError(
            f"At least one gate of adapter {adapter_name!r} must not be zero, but all {gates} are: nothing "
            "is left to prune to, and LoRA has no rank 0. The base model alone (model.unload()) computes "
            "the same; train again with a smaller sparse_lambda for a LoRA."
        )
    _check_fast_path(model.get_base_model(), kept)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for name, layer in kept.items():
        own = layer.lora_tensors(adapter_name)
        ranks[name] = len(next(iter(own.values())))
        tensors |= {f"{_PREFIX}{name}.{key}": value for key, value in own.items()}
    saved = get_peft_model_state_dict(
        model, adapter_name=adapter_name, save_embedding_layers=save_embedding_layers
    )
    for key, value in saved.items():
        key = plain_name(key)
        if not _is_sora_key(key):
            # A module that is no target any more has its trained bias under the base model's name.
            name = key.removeprefix(_PREFIX).removesuffix(".base_layer.bias")
            if targets.get(name, name) in layers.keys() - kept.keys():
                key = f"{_PREFIX}{name.replace('.base_layer', '')}.bias"
            tensors[key] = value.detach().clone()
    lora_config = _lora_config(config, model.get_base_model(), ranks)
    if config.bias != "none":
        # "lora_only" would leave the trained biases of modules that are no targets any more behind.
        lora_config.bias = "lora_only" if config.bias != "all" and left == set(targets.values()) else "all"
    # peft would find out by itself, with a warning for each module.
    transposed = [layer.is_transposed for layer in kept.values() if isinstance(layer, SoRALinear)]
    lora_config.fan_in_fan_out = bool(transposed) and all(transposed)
    return lora_config, tensors


def _check_fast_path(base: nn.Module, kept: Mapping[str, SoRALayer]) -> None:
    """Raise where torch would read the base weights at inference and pass a LoRA over.

    SoRA's own layers keep an encoder's layer from it, see `leave_fast_path`; peft's LoRA does not.
    """
    names = {layer: name for name, layer in kept.items()}
    for module in base.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and module.self_attn.batch_first:
            passed_over = [names[child] for child in module.children() if child in names]
            if passed_over and torch.backends.mha.get_fastpath_enabled():
                raise ConfigError(
                    "A SoRA adapter can become a LoRA where the layers that it is in are called, but torch's "
                    f"TransformerEncoderLayer reads the weight of {passed_over[0]} at inference without a "
                    "call, where peft's LoRA has no effect. Merge the adapter instead (merge_and_unload), or "
                    "call torch.backends.mha.set_fastpath_enabled(False), here and wherever the LoRA is used."
                )


def _is_sora_key(key: str) -> bool:
    return key.rsplit(".", 1)[-1] in SoRALayer.adapter_layer_names


def _lora_config(config: SoRAConfig, base: nn.Module, ranks: dict[str, int]) -> LoraConfig:
    """Describe the remaining ranks, with lora_alpha = r everywhere (scale 1).

    `r` is the largest: vLLM compares it with its own limit, takes lora_alpha / r for the scale of each module
    and reads the ranks from the tensors (vllm/lora/peft_helper.py and lora_model.py).
    """
    r = max(ranks.values())
    pattern = {exact_key(name): rank for name, rank in ranks.items() if rank != r}
    return LoraConfig(
        r=r,
        lora_alpha=r,
        rank_pattern=dict(pattern),
        alpha_pattern=dict(pattern),
        lora_dropout=config.lora_dropout,
        target_modules=_target_modules(base, set(ranks)),
        # peft adds to the list that it is given.
        modules_to_save=config.modules_to_save and list(dict.fromkeys(config.modules_to_save)),
        task_type=config.task_type,
        base_model_name_or_path=config.base_model_name_or_path,
        revision=config.revision,
    )


def _target_modules(base: nn.Module, kept: set[str]) -> list[str] | str:
    """Name the modules kept: by their endings, as people write them, by their names, or by an expression.

    peft takes each name of a list as an ending too, so that a name may match a module that is not meant.
    """
    names = {plain_name(name).replace(".base_layer", "") for name, _ in base.named_modules()}
    for listed in ({name.rsplit(".", 1)[-1] for name in kept}, kept):
        if {
            name for name in names if name in listed or name.endswith(tuple(f".{end}" for end in listed))
        } == kept:
            return sorted(listed)
    return "|".join(re.escape(name) for name in sorted(kept))


def _unload_untouched(model: PeftModel) -> nn.Module:
    """Take the adapters out, with the modules to save as they were before training."""
    for module in model.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            module.set_adapter([])
    tuner: Any = model.base_model
    base: nn.Module = tuner.unload()
    return base
